import { Foxtrot } from "http://localhost:5000/foxtrot.js";

const foxtrot = new Foxtrot({ services: ["http://localhost:5001"] });
const form = document.querySelector("form");
const main = document.querySelector("main");
const problem = document.querySelector("[role=alert]");

async function show() {
  form.hidden = foxtrot.signedIn;
  main.hidden = !foxtrot.signedIn;
  const notes = document.createElement("pre"); // a new one: late answers to the old one get lost
  main.querySelector("pre").replaceWith(notes);
  if (!foxtrot.signedIn) return;
  form.reset(); // or the password would stay there
  const response = await foxtrot.fetch("http://localhost:5001/notes");
  notes.textContent = await response.text();
}

async function attempt(action) {
  problem.textContent = "";
  try {
    await action();
  } catch (error) {
    form.hidden = foxtrot.signedIn; // also if there was no answer at the start
    if (error.code !== "session_ended") problem.textContent = error.message;
  }
}

// Another token: perhaps another person's, who signed in here or in another tab
foxtrot.addEventListener("change", () => attempt(show));
form.addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(() => foxtrot.login(form.elements.email.value, form.elements.password.value));
});
main.querySelector("button").addEventListener("click", () => attempt(() => foxtrot.logout()));
attempt(() => foxtrot.token()); // if the browser has the cookie, there is a change
