output "id" {
  description = "Id of the API."
  value       = aws_apigatewayv2_api.this.id
}

output "stage" {
  description = "Name of the one stage."
  value       = aws_apigatewayv2_stage.this.name
}

output "url" {
  description = "Base URL of the API, without a slash at the end. The stage $default has no part in it."
  value       = aws_apigatewayv2_api.this.api_endpoint
}

output "authorizer_cache_seconds" {
  description = "How long a verdict on a token is reused."
  value       = aws_apigatewayv2_authorizer.this.authorizer_result_ttl_in_seconds
}
