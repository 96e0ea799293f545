// What forms gain where JavaScript runs: a password can be shown, and a new one
// is judged while it is being typed. Everything works without this file.

for (const input of document.querySelectorAll("input[type=password]")) {
  addShowButton(input);
  if ("advice" in input.dataset) giveAdvice(input);
}

function addShowButton(input) {
  const entry = document.createElement("div");
  entry.className = "entry";
  const button = document.createElement("button");
  button.type = "button";
  call("Show");
  button.addEventListener("click", () => {
    const shown = input.type === "password";
    input.type = shown ? "text" : "password";
    call(shown ? "Hide" : "Show");
  });
  input.form.addEventListener("submit", () => { input.type = "password"; });
  const focused = document.activeElement === input;
  input.before(entry);
  entry.append(input, button);
  if (focused) input.focus();

  function call(verb) {
    button.textContent = verb;
    button.setAttribute("aria-label", `${verb} the password`);
  }
}

function giveAdvice(input) {
  const place = document.getElementById("password-advice");
  let pause;
  let asked = 0;
  input.addEventListener("input", () => {
    clearTimeout(pause);
    pause = setTimeout(() => ask(++asked), 350);
  });
  if (input.value) ask(++asked); // typed before this file had arrived

  async function ask(turn) {
    if (!input.value) return tell("", false);
    const email = input.form.querySelector("[autocomplete=username]")?.value ?? "";
    try {
      const response = await fetch("/auth/password-advice", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ email, password: input.value }),
      });
      if (!response.ok || turn !== asked) return;
      const verdict = await response.json();
      forgetOldVerdict();
      tell(verdict.acceptable ? "That is a good password." : verdict.advice.join(" "), verdict.acceptable);
    } catch {
      tell("", false); // advice is a courtesy: the form says the same when it is sent
    }
  }

  function forgetOldVerdict() {
    const old = document.getElementById(`${input.id}-wrong`);
    if (!old) return;
    old.remove();
    input.removeAttribute("aria-invalid");
    input.setAttribute("aria-describedby", "password-hint password-advice");
    if (!document.querySelector(".wrong")) document.querySelector(".refusal")?.remove();
  }

  function tell(text, good) {
    place.textContent = text;
    place.classList.toggle("good", good);
  }
}
