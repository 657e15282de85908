locals {
  # $connect and $disconnect keep the connections table; every client message reaches $default.
  routes = {
    "$connect"    = { authorized = true, answers = false }
    "$disconnect" = { authorized = false, answers = false }
    "$default"    = { authorized = false, answers = true }
  }
}

resource "aws_apigatewayv2_api" "this" {
  name          = var.name
  protocol_type = "WEBSOCKET"

  # Messages say what they want in `action`; the function reads it, since no route but $default would match.
  route_selection_expression = "$request.body.action"
}

resource "aws_apigatewayv2_integration" "this" {
  api_id             = aws_apigatewayv2_api.this.id
  integration_type   = "AWS_PROXY"
  integration_method = "POST"
  integration_uri    = var.function.invoke_arn

  # The most a WebSocket API allows; the function's own timeout is shorter and ends first.
  timeout_milliseconds = 29000
}

# Simple responses exist for HTTP APIs only: here the authorizer answers with a policy document. API Gateway asks it at
# $connect and never again, and caches nothing.
resource "aws_apigatewayv2_authorizer" "this" {
  api_id          = aws_apigatewayv2_api.this.id
  name            = "bearer-token"
  authorizer_type = "REQUEST"
  authorizer_uri  = var.authorizer.invoke_arn

  # Browsers cannot set headers on a WebSocket handshake. Absent: 401, and the function is not called.
  identity_sources = ["route.request.querystring.token"]
}

resource "aws_apigatewayv2_route" "this" {
  for_each = local.routes

  api_id             = aws_apigatewayv2_api.this.id
  route_key          = each.key
  target             = "integrations/${aws_apigatewayv2_integration.this.id}"
  authorization_type = each.value.authorized ? "CUSTOM" : "NONE"
  authorizer_id      = each.value.authorized ? aws_apigatewayv2_authorizer.this.id : null

  # Without it (and the route response below) API Gateway drops what the function returns.
  route_response_selection_expression = each.value.answers ? "$default" : null
}

resource "aws_apigatewayv2_route_response" "this" {
  for_each = { for key, route in local.routes : key => route if route.answers }

  api_id             = aws_apigatewayv2_api.this.id
  route_id           = aws_apigatewayv2_route.this[each.key].id
  route_response_key = "$default"
}

# No access log: for WebSocket APIs it needs a logging role set on the whole account, which is not this stack's to set,
# and its lines would carry the token of the query string.
resource "aws_apigatewayv2_stage" "this" {
  api_id      = aws_apigatewayv2_api.this.id
  name        = var.stage
  auto_deploy = true

  # Always both: the provider sends an unset limit as 0, which blocks every message.
  default_route_settings {
    throttling_rate_limit    = var.throttling_rate_limit
    throttling_burst_limit   = var.throttling_burst_limit
    detailed_metrics_enabled = false # per route, and each is paid for: nothing reads them
  }

  # API Gateway refuses to deploy a WebSocket API that has no routes.
  depends_on = [aws_apigatewayv2_route.this, aws_apigatewayv2_route_response.this]
}

resource "aws_lambda_permission" "route" {
  for_each = local.routes

  statement_id  = "websocket-api-${trim(each.key, "$")}"
  function_name = var.function.name
  action        = "lambda:InvokeFunction"
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${aws_apigatewayv2_api.this.execution_arn}/${var.stage}/${each.key}"
}

resource "aws_lambda_permission" "authorizer" {
  statement_id  = "websocket-api-authorizer"
  function_name = var.authorizer.name
  action        = "lambda:InvokeFunction"
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${aws_apigatewayv2_api.this.execution_arn}/authorizers/${aws_apigatewayv2_authorizer.this.id}"
}
