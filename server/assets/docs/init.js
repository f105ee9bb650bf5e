// Starts Swagger UI on this server's own document. A file of its own, because the page's
// Content-Security-Policy runs no inline script.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  docExpansion: "none",
  filter: true,
  operationsSorter: "none",
  persistAuthorization: false,
  tryItOutEnabled: true,
  // The default validator is a foreign host.
  validatorUrl: "none",
});
