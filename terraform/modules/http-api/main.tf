locals {
  # The name that makes the URL carry no stage. A single stage: environments are separate stacks, not stages.
  stage = "$default"
}

resource "aws_apigatewayv2_api" "this" {
  name          = var.name
  protocol_type = "HTTP"
}

resource "aws_apigatewayv2_integration" "this" {
  for_each = var.functions

  api_id                 = aws_apigatewayv2_api.this.id
  integration_type       = "AWS_PROXY"
  integration_method     = "POST" # how Lambda is invoked, whatever the route's method
  integration_uri        = each.value.invoke_arn
  payload_format_version = "2.0"

  # The most an HTTP API allows. The function's own timeout is shorter and ends first, so that a slow call is a 500
  # with a log line, not a 503 whose work goes on unseen.
  timeout_milliseconds = 30000
}

resource "aws_apigatewayv2_authorizer" "this" {
  api_id           = aws_apigatewayv2_api.this.id
  name             = "bearer-token"
  authorizer_type  = "REQUEST"
  authorizer_uri   = var.authorizer.invoke_arn
  identity_sources = ["$request.header.Authorization"] # absent: 401, and the function is not called

  authorizer_payload_format_version = "2.0"
  enable_simple_responses           = true # {"isAuthorized": bool, "context": {...}}, no policy document

  # One verdict serves all routes for this long: the authorizer looks at the token alone, never at the route.
  authorizer_result_ttl_in_seconds = var.authorizer_cache_seconds
}

resource "aws_apigatewayv2_route" "this" {
  for_each = var.routes

  api_id             = aws_apigatewayv2_api.this.id
  route_key          = each.key
  target             = "integrations/${aws_apigatewayv2_integration.this[each.value].id}"
  authorization_type = "CUSTOM"
  authorizer_id      = aws_apigatewayv2_authorizer.this.id
}

# Of a name that begins with /aws/vendedlogs/ API Gateway writes one statement into the account's resource policy for log
# delivery; of any other it adds one for each group, which no destroy takes away again, to 5,120 characters in all.
resource "aws_cloudwatch_log_group" "access" {
  name              = "/aws/vendedlogs/apigateway/${var.name}"
  retention_in_days = var.log_retention_days
}

resource "aws_apigatewayv2_stage" "this" {
  api_id      = aws_apigatewayv2_api.this.id
  name        = local.stage
  auto_deploy = true

  # Always both: the provider sends an unset limit as 0, which blocks every request.
  default_route_settings {
    throttling_rate_limit    = var.throttling_rate_limit
    throttling_burst_limit   = var.throttling_burst_limit
    detailed_metrics_enabled = false # per route, and each is paid for: nothing reads them, and the access log names the route
  }

  # Who, what, how long, and whose fault. Never the Authorization header, never a body.
  access_log_settings {
    destination_arn = aws_cloudwatch_log_group.access.arn
    format = jsonencode({
      request_id             = "$context.requestId"
      at_ms                  = "$context.requestTimeEpoch"
      route                  = "$context.routeKey"
      status                 = "$context.status"
      latency_ms             = "$context.responseLatency"
      integration_status     = "$context.integrationStatus"
      integration_latency_ms = "$context.integrationLatency"
      integration_error      = "$context.integrationErrorMessage"
      authorizer_error       = "$context.authorizer.error"
      response_bytes         = "$context.responseLength"
      source_ip              = "$context.identity.sourceIp"
    })
  }

  # One deployment with all routes in it, not one for each route as it comes.
  depends_on = [aws_apigatewayv2_route.this]
}

# Exactly this route of this stage of this API, not "*/*".
resource "aws_lambda_permission" "route" {
  for_each = var.routes

  # Letters, digits and hyphens only: "POST /tasks" becomes "http-api-POST-tasks".
  statement_id  = "http-api-${trim(replace(each.key, "/[^A-Za-z0-9]+/", "-"), "-")}"
  function_name = var.functions[each.value].name
  action        = "lambda:InvokeFunction"
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${aws_apigatewayv2_api.this.execution_arn}/${local.stage}/${replace(each.key, " ", "")}"
}

resource "aws_lambda_permission" "authorizer" {
  statement_id  = "http-api-authorizer"
  function_name = var.authorizer.name
  action        = "lambda:InvokeFunction"
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${aws_apigatewayv2_api.this.execution_arn}/authorizers/${aws_apigatewayv2_authorizer.this.id}"
}
