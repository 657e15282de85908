# Every type of resource that the modules use, with every argument of it that can be changed in place.

locals {
  first   = var.step == 0
  changed = var.step == 1
  bare    = var.step == 2
  tags    = local.bare ? {} : { step = tostring(var.step) }
  trust = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "sts:AssumeRole", Principal = { Service = local.first ? ["lambda.amazonaws.com"] : ["lambda.amazonaws.com", "fis.amazonaws.com"] } }]
  })
}

resource "aws_iam_role" "this" {
  name                 = "every"
  description          = local.bare ? null : "step ${var.step}"
  assume_role_policy   = local.trust
  max_session_duration = local.first ? 3600 : 7200
  tags                 = local.tags
}

resource "aws_iam_role_policy" "this" {
  name = "inline"
  role = aws_iam_role.this.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = concat(["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"], local.first ? [] : ["sqs:SendMessage"])
      Resource = "*"
    }]
  })
}

resource "aws_sqs_queue" "dead" {
  name                      = "every-dead"
  message_retention_seconds = local.first ? 1209600 : 86400
  redrive_allow_policy = local.bare ? null : jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = ["arn:aws:sqs:us-east-1:123456789012:every"]
  })
  tags = local.tags
}

resource "aws_sqs_queue" "this" {
  name                       = "every"
  delay_seconds              = local.first ? 0 : 5
  max_message_size           = local.first ? 262144 : 2048
  message_retention_seconds  = local.first ? 345600 : 60
  receive_wait_time_seconds  = local.first ? 0 : 20
  visibility_timeout_seconds = local.first ? 30 : 60
  sqs_managed_sse_enabled    = local.first
  redrive_policy = local.bare ? null : jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead.arn
    maxReceiveCount     = local.first ? 3 : 7
  })
  policy = local.bare ? null : jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "step${var.step}"
      Effect    = "Allow"
      Principal = { AWS = "arn:aws:iam::123456789012:root" }
      Action    = "sqs:SendMessage"
      Resource  = "arn:aws:sqs:us-east-1:123456789012:every"
    }]
  })
  tags = local.tags
}

resource "aws_dynamodb_table" "this" {
  name         = "every"
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "id"
  range_key    = "sort"

  deletion_protection_enabled = local.changed

  attribute {
    name = "id"
    type = "S"
  }
  attribute {
    name = "sort"
    type = "N"
  }
  attribute {
    name = "owner"
    type = "S"
  }

  global_secondary_index {
    name            = "by-owner"
    hash_key        = "owner"
    projection_type = "ALL"
  }

  dynamic "ttl" {
    for_each = local.bare ? [] : ["expires"]
    content {
      attribute_name = ttl.value
      enabled        = true
    }
  }

  point_in_time_recovery {
    enabled = !local.bare
  }

  tags = local.tags
}

resource "aws_dynamodb_table" "provisioned" {
  name           = "every-provisioned"
  billing_mode   = local.bare ? "PAY_PER_REQUEST" : "PROVISIONED"
  hash_key       = "id"
  read_capacity  = local.bare ? null : 5 + var.step
  write_capacity = local.bare ? null : 6 + var.step

  attribute {
    name = "id"
    type = "S"
  }
}

resource "aws_dynamodb_table" "capped" {
  name         = "every-capped"
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "id"

  attribute {
    name = "id"
    type = "S"
  }

  on_demand_throughput {
    max_read_request_units  = 10 + var.step
    max_write_request_units = 20 + var.step
  }
}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/every/group"
  retention_in_days = local.bare ? 0 : (local.first ? 7 : 14)
  tags              = local.tags
}

resource "aws_lambda_function" "this" {
  function_name                  = "every"
  role                           = aws_iam_role.this.arn
  filename                       = var.zip
  source_code_hash               = filebase64sha256(var.zip)
  depends_on                     = [aws_iam_role_policy.this]
  runtime                        = local.first ? "provided.al2023" : "provided.al2"
  handler                        = local.first ? "bootstrap" : "other"
  description                    = local.bare ? null : "step ${var.step}"
  timeout                        = 3 + var.step
  memory_size                    = 128 + var.step
  reserved_concurrent_executions = local.bare ? -1 : 5 + var.step
  layers                         = local.changed ? ["arn:aws:lambda:us-east-1:123456789012:layer:any:1"] : []

  ephemeral_storage {
    size = 512 + var.step
  }

  dynamic "environment" {
    for_each = local.bare ? [] : [{ STEP = tostring(var.step) }]
    content {
      variables = environment.value
    }
  }

  tracing_config {
    mode = local.first ? "PassThrough" : "Active"
  }

  logging_config {
    log_format            = local.changed ? "JSON" : "Text"
    application_log_level = local.changed ? "DEBUG" : null
    system_log_level      = local.changed ? "WARN" : null
  }

  tags = local.tags
}

resource "aws_lambda_permission" "this" {
  statement_id  = "allow"
  function_name = aws_lambda_function.this.function_name
  action        = "lambda:InvokeFunction"
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${aws_apigatewayv2_api.http.execution_arn}/*"
}

resource "aws_lambda_event_source_mapping" "this" {
  event_source_arn                   = aws_sqs_queue.this.arn
  function_name                      = aws_lambda_function.this.arn
  batch_size                         = local.first ? 10 : 5
  maximum_batching_window_in_seconds = local.first ? 0 : 1
  enabled                            = !local.changed
  function_response_types            = local.bare ? [] : ["ReportBatchItemFailures"]

  dynamic "scaling_config" {
    for_each = local.bare ? [] : [2 + var.step]
    content {
      maximum_concurrency = scaling_config.value
    }
  }

  dynamic "filter_criteria" {
    for_each = local.changed ? [jsonencode({ body = { kind = ["a"] } })] : []
    content {
      filter {
        pattern = filter_criteria.value
      }
    }
  }
}

resource "aws_s3_bucket" "this" {
  bucket        = "every-bucket"
  force_destroy = local.changed
  tags          = local.tags
}

resource "aws_s3_bucket_public_access_block" "this" {
  bucket                  = aws_s3_bucket.this.id
  block_public_acls       = local.first
  block_public_policy     = local.first
  ignore_public_acls      = local.first
  restrict_public_buckets = local.first
}

resource "aws_cloudwatch_metric_alarm" "this" {
  alarm_name          = "every"
  alarm_description   = local.bare ? null : "step ${var.step}"
  namespace           = "AWS/SQS"
  metric_name         = local.first ? "ApproximateAgeOfOldestMessage" : "NumberOfMessagesSent"
  dimensions          = { QueueName = aws_sqs_queue.this.name }
  statistic           = local.first ? "Maximum" : "Sum"
  period              = local.first ? 60 : 120
  evaluation_periods  = 2 + var.step
  datapoints_to_alarm = 1 + var.step
  threshold           = 10.5 + var.step
  comparison_operator = local.first ? "GreaterThanThreshold" : "LessThanThreshold"
  treat_missing_data  = local.first ? "notBreaching" : "breaching"
  actions_enabled     = local.first
  alarm_actions       = local.changed ? ["arn:aws:sns:us-east-1:123456789012:topic"] : []
  tags                = local.tags
}

resource "aws_cloudwatch_metric_alarm" "math" {
  alarm_name          = "every-math"
  evaluation_periods  = 1 + var.step
  threshold           = 5
  comparison_operator = "GreaterThanOrEqualToThreshold"

  metric_query {
    id          = "rate"
    expression  = local.first ? "100 * errors / requests" : "FILL(100 * errors / requests, 0)"
    label       = "error rate"
    return_data = true
  }
  dynamic "metric_query" {
    for_each = { errors = "Errors", requests = "Invocations" }
    content {
      id = metric_query.key
      metric {
        namespace   = "AWS/Lambda"
        metric_name = metric_query.value
        dimensions  = { FunctionName = "every" }
        period      = local.first ? 60 : 120
        stat        = "Sum"
        unit        = "Count"
      }
    }
  }
}

resource "aws_apigatewayv2_api" "http" {
  name          = "every-${var.step}"
  protocol_type = "HTTP"
  description   = local.bare ? null : "step ${var.step}"
  version       = local.bare ? null : "v${var.step}"
  tags          = local.tags

  dynamic "cors_configuration" {
    for_each = local.bare ? [] : [10 + var.step]
    content {
      allow_origins = ["https://app.example"]
      allow_methods = local.first ? ["GET"] : ["GET", "POST"]
      allow_headers = ["authorization"]
      max_age       = cors_configuration.value
    }
  }
}

resource "aws_apigatewayv2_authorizer" "http" {
  api_id                            = aws_apigatewayv2_api.http.id
  name                              = "token-${var.step}"
  authorizer_type                   = "REQUEST"
  authorizer_uri                    = aws_lambda_function.this.invoke_arn
  authorizer_payload_format_version = local.first ? "2.0" : "1.0"
  enable_simple_responses           = local.first
  identity_sources                  = ["$request.header.Authorization"]
  authorizer_result_ttl_in_seconds  = 60 + var.step
}

resource "aws_apigatewayv2_integration" "http" {
  api_id                 = aws_apigatewayv2_api.http.id
  integration_type       = "AWS_PROXY"
  integration_uri        = aws_lambda_function.this.invoke_arn
  payload_format_version = local.first ? "2.0" : "1.0"
  timeout_milliseconds   = 5000 + var.step
  description            = "step ${var.step}"
}

resource "aws_apigatewayv2_route" "http" {
  api_id             = aws_apigatewayv2_api.http.id
  route_key          = local.first ? "POST /tasks" : "GET /tasks"
  target             = "integrations/${aws_apigatewayv2_integration.http.id}"
  authorization_type = local.bare ? "NONE" : "CUSTOM"
  authorizer_id      = local.bare ? null : aws_apigatewayv2_authorizer.http.id
}

resource "aws_apigatewayv2_stage" "http" {
  api_id      = aws_apigatewayv2_api.http.id
  name        = "$default"
  auto_deploy = true
  description = local.bare ? null : "step ${var.step}"

  default_route_settings {
    throttling_burst_limit = 100 + var.step
    throttling_rate_limit  = 50 + var.step
  }

  dynamic "route_settings" {
    for_each = local.bare ? [] : [10 + var.step]
    content {
      route_key              = aws_apigatewayv2_route.http.route_key
      throttling_burst_limit = route_settings.value
      throttling_rate_limit  = route_settings.value
    }
  }

  dynamic "access_log_settings" {
    for_each = local.bare ? [] : ["$context.requestId ${var.step}"]
    content {
      destination_arn = aws_cloudwatch_log_group.this.arn
      format          = access_log_settings.value
    }
  }

  stage_variables = local.bare ? null : { step = tostring(var.step) }
  tags            = local.tags
}

resource "aws_apigatewayv2_api" "websocket" {
  name                       = "every-push-${var.step}"
  protocol_type              = "WEBSOCKET"
  route_selection_expression = local.first ? "$request.body.action" : "$request.body.kind"
}

resource "aws_apigatewayv2_authorizer" "websocket" {
  api_id           = aws_apigatewayv2_api.websocket.id
  name             = "token-${var.step}"
  authorizer_type  = "REQUEST"
  authorizer_uri   = aws_lambda_function.this.invoke_arn
  identity_sources = [local.first ? "route.request.querystring.token" : "route.request.header.token"]
}

resource "aws_apigatewayv2_integration" "websocket" {
  api_id           = aws_apigatewayv2_api.websocket.id
  integration_type = "AWS_PROXY"
  integration_uri  = aws_lambda_function.this.invoke_arn
}

resource "aws_apigatewayv2_route" "connect" {
  api_id             = aws_apigatewayv2_api.websocket.id
  route_key          = "$connect"
  target             = "integrations/${aws_apigatewayv2_integration.websocket.id}"
  authorization_type = "CUSTOM"
  authorizer_id      = aws_apigatewayv2_authorizer.websocket.id
}

resource "aws_apigatewayv2_route" "default" {
  api_id                              = aws_apigatewayv2_api.websocket.id
  route_key                           = "$default"
  target                              = "integrations/${aws_apigatewayv2_integration.websocket.id}"
  route_response_selection_expression = local.bare ? null : "$default"
}

resource "aws_apigatewayv2_route_response" "default" {
  api_id             = aws_apigatewayv2_api.websocket.id
  route_id           = aws_apigatewayv2_route.default.id
  route_response_key = "$default"
}

resource "aws_apigatewayv2_deployment" "websocket" {
  api_id      = aws_apigatewayv2_api.websocket.id
  description = "step ${var.step}"
  depends_on  = [aws_apigatewayv2_route.connect, aws_apigatewayv2_route_response.default]
}

resource "aws_apigatewayv2_stage" "websocket" {
  api_id          = aws_apigatewayv2_api.websocket.id
  name            = "live"
  deployment_id   = aws_apigatewayv2_deployment.websocket.id
  stage_variables = { step = tostring(var.step) }
}
