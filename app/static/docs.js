// Shows the API with Swagger UI, from this service's own files.
SwaggerUIBundle({
  url: document.getElementById("api").dataset.document,
  domNode: document.getElementById("api"),
  deepLinking: true,
  validatorUrl: null,
});
