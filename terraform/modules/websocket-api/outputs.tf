output "id" {
  description = "Id of the API."
  value       = aws_apigatewayv2_api.this.id
}

output "stage" {
  description = "Name of the one stage."
  value       = aws_apigatewayv2_stage.this.name
}

output "url" {
  description = "URL that clients connect to; they add ?token=."
  value       = "${aws_apigatewayv2_api.this.api_endpoint}/${aws_apigatewayv2_stage.this.name}"
}

# The two below are for the functions that push. They depend on the API alone, not on its stage and routes.

output "management_endpoint" {
  description = "Base of /@connections: wss becomes https, and ws, on an emulator, http."
  value       = "${replace(aws_apigatewayv2_api.this.api_endpoint, "/^ws/", "http")}/${var.stage}"
}

output "push_arn" {
  description = "What execute-api:ManageConnections is granted on in order to push: POST to any connection of this stage."
  value       = "${aws_apigatewayv2_api.this.execution_arn}/${var.stage}/POST/@connections/*"
}
