# Every way in is authorized, throttled and, on the functions' side, allowed for exactly that route.

mock_provider "aws" {
  source          = "./testing/mocks"
  override_during = plan
}

variables {
  name       = "test-api"
  authorizer = { name = "test-authorizer", invoke_arn = "arn:aws:apigateway:eu-central-1:lambda:path/authorizer/invocations" }
  function   = { name = "test-websocket", invoke_arn = "arn:aws:apigateway:eu-central-1:lambda:path/websocket/invocations" }
  functions = {
    submit-task = { name = "test-submit-task", invoke_arn = "arn:aws:apigateway:eu-central-1:lambda:path/submit/invocations" }
    list-tasks  = { name = "test-list-tasks", invoke_arn = "arn:aws:apigateway:eu-central-1:lambda:path/list/invocations" }
  }
  routes = {
    "POST /tasks"     = "submit-task"
    "GET /tasks"      = "list-tasks"
    "GET /tasks/{id}" = "list-tasks"
  }
}

run "no_http_route_is_open" {
  command = plan

  module {
    source = "./modules/http-api"
  }

  assert {
    condition = alltrue([
      for route in aws_apigatewayv2_route.this :
      route.authorization_type == "CUSTOM" && route.authorizer_id == aws_apigatewayv2_authorizer.this.id
    ])
    error_message = "A route can be called without the authorizer."
  }

  assert {
    condition = alltrue([
      aws_apigatewayv2_authorizer.this.authorizer_type == "REQUEST",
      aws_apigatewayv2_authorizer.this.authorizer_payload_format_version == "2.0",
      aws_apigatewayv2_authorizer.this.enable_simple_responses,
      aws_apigatewayv2_authorizer.this.identity_sources == toset(["$request.header.Authorization"]),
    ])
    error_message = "The authorizer must get the Authorization header and answer in the simple form."
  }

  assert {
    condition = { for key, permission in aws_lambda_permission.route : permission.source_arn => permission.function_name } == {
      "arn:aws:execute-api:eu-central-1:123456789012:api123/$default/POST/tasks"     = "test-submit-task"
      "arn:aws:execute-api:eu-central-1:123456789012:api123/$default/GET/tasks"      = "test-list-tasks"
      "arn:aws:execute-api:eu-central-1:123456789012:api123/$default/GET/tasks/{id}" = "test-list-tasks"
    }
    error_message = "Each route may call its own function, and nothing more."
  }

  assert {
    condition     = aws_lambda_permission.authorizer.source_arn == "arn:aws:execute-api:eu-central-1:123456789012:api123/authorizers/auth123"
    error_message = "Only this API's authorizer may call the authorizer function."
  }

  assert {
    condition = alltrue([
      aws_apigatewayv2_stage.this.name == "$default",
      aws_apigatewayv2_stage.this.auto_deploy,
      aws_apigatewayv2_stage.this.default_route_settings[0].throttling_rate_limit > 0,
      aws_apigatewayv2_stage.this.default_route_settings[0].throttling_burst_limit > 0,
    ])
    error_message = "The stage must deploy by itself and let requests through."
  }

  assert {
    condition     = !aws_apigatewayv2_stage.this.default_route_settings[0].detailed_metrics_enabled
    error_message = "Metrics of routes are paid for and read by nothing: the table of costs in docs/operations.md has none."
  }

  assert {
    condition     = !strcontains(lower(aws_apigatewayv2_stage.this.access_log_settings[0].format), "$context.authorizer.token") && !strcontains(lower(aws_apigatewayv2_stage.this.access_log_settings[0].format), "authorization")
    error_message = "A token must not reach the access log."
  }

  assert {
    condition     = alltrue([for integration in aws_apigatewayv2_integration.this : integration.payload_format_version == "2.0"])
    error_message = "The functions read payload format 2.0."
  }

  assert {
    condition     = aws_cloudwatch_log_group.access.name == "/aws/vendedlogs/apigateway/test-api"
    error_message = "Under any other name the group leaves a statement of its own in the account's resource policy."
  }

  assert {
    condition     = aws_apigatewayv2_authorizer.this.authorizer_result_ttl_in_seconds == 60
    error_message = "docs/api.md says for how long a verdict is kept by default."
  }
}

run "open_routes_unknown_functions_and_a_throttle_of_nothing_are_refused" {
  command = plan

  module {
    source = "./modules/http-api"
  }

  variables {
    routes                   = { "ANY /{proxy+}" = "submit-task", "GET /other" = "nobody" }
    authorizer_cache_seconds = 3601
    throttling_rate_limit    = 0
    throttling_burst_limit   = 0
  }

  expect_failures = [
    var.routes,
    var.authorizer_cache_seconds,
    var.throttling_rate_limit,
    var.throttling_burst_limit,
  ]
}

run "a_handshake_needs_a_token_and_messages_are_answered" {
  command = plan

  module {
    source = "./modules/websocket-api"
  }

  assert {
    condition     = { for key, route in aws_apigatewayv2_route.this : key => route.authorization_type } == { "$connect" = "CUSTOM", "$disconnect" = "NONE", "$default" = "NONE" }
    error_message = "The handshake must be authorized; API Gateway asks at no other route."
  }

  assert {
    condition = alltrue([
      aws_apigatewayv2_authorizer.this.authorizer_type == "REQUEST",
      aws_apigatewayv2_authorizer.this.identity_sources == toset(["route.request.querystring.token"]),
    ])
    error_message = "The token of a handshake comes in the query string."
  }

  assert {
    condition     = keys(aws_apigatewayv2_route_response.this) == ["$default"] && aws_apigatewayv2_route.this["$default"].route_response_selection_expression == "$default"
    error_message = "Without a route response the answers of $default are dropped."
  }

  assert {
    condition = toset([for permission in aws_lambda_permission.route : permission.source_arn]) == toset([
      "arn:aws:execute-api:eu-central-1:123456789012:api123/live/$connect",
      "arn:aws:execute-api:eu-central-1:123456789012:api123/live/$disconnect",
      "arn:aws:execute-api:eu-central-1:123456789012:api123/live/$default",
    ])
    error_message = "Each route may call the function, and nothing more."
  }

  assert {
    condition     = output.url == "wss://api123.execute-api.eu-central-1.amazonaws.com/live"
    error_message = "Clients connect to the stage's URL."
  }

  assert {
    condition     = !aws_apigatewayv2_stage.this.default_route_settings[0].detailed_metrics_enabled
    error_message = "Metrics of routes are paid for and read by nothing: the table of costs in docs/operations.md has none."
  }

  assert {
    condition     = output.management_endpoint == "https://api123.execute-api.eu-central-1.amazonaws.com/live"
    error_message = "The management endpoint is the same place over https."
  }
}

run "on_an_emulator_the_management_endpoint_is_plain_http" {
  command = plan

  module {
    source = "./modules/websocket-api"
  }

  override_resource {
    target          = aws_apigatewayv2_api.this
    override_during = plan
    values          = { id = "def", api_endpoint = "ws://127.0.0.1:4566/_aws/execute-api/def", execution_arn = "arn:aws:execute-api:us-east-1:123456789012:def" }
  }

  assert {
    condition     = output.management_endpoint == "http://127.0.0.1:4566/_aws/execute-api/def/live"
    error_message = "Got ${output.management_endpoint}."
  }
}
