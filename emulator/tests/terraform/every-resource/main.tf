# Every type of resource that the modules use, with every argument of it that can be changed in place.

locals {
  first   = var.step == 0
  changed = var.step == 1
  bare    = var.step == 2
  tags    = local.bare ? {} : { step = tostring(var.step) }
  trusted = ["lambda.amazonaws.com", "scheduler.amazonaws.com"]
  trust = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "sts:AssumeRole", Principal = { Service = local.first ? local.trusted : concat(local.trusted, ["fis.amazonaws.com"]) } }]
  })
  tracing       = ["xray:PutTraceSegments"]
  queue_actions = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:SendMessage"]
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
      Action   = concat(local.queue_actions, local.tracing, local.first ? [] : ["sqs:ChangeMessageVisibility"])
      Resource = "*"
    }]
  })
}

resource "aws_iam_policy" "boundary" {
  for_each = { narrow = ["sqs:*", "xray:*"], wide = ["sqs:*", "xray:*", "logs:*"] }
  name     = "every-${each.key}"
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = each.value, Resource = "*" }]
  })
}

resource "aws_iam_role" "other" {
  name                 = "every-other"
  assume_role_policy   = local.trust
  permissions_boundary = local.bare ? null : aws_iam_policy.boundary[local.first ? "narrow" : "wide"].arn
}

resource "aws_iam_role_policy" "other" {
  name = "inline"
  role = aws_iam_role.other.id
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = concat(local.queue_actions, local.tracing), Resource = "*" }]
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
  table_class  = local.changed ? "STANDARD_INFREQUENT_ACCESS" : "STANDARD"

  deletion_protection_enabled = local.changed

  stream_enabled   = !local.bare
  stream_view_type = local.bare ? null : (local.first ? "NEW_IMAGE" : "NEW_AND_OLD_IMAGES")

  # One index is there first, then two, then only the second.
  dynamic "attribute" {
    for_each = merge({ id = "S", sort = "N" }, local.bare ? {} : { owner = "S" }, local.first ? {} : { kind = "S" })
    content {
      name = attribute.key
      type = attribute.value
    }
  }

  dynamic "global_secondary_index" {
    for_each = concat(local.bare ? [] : ["owner"], local.first ? [] : ["kind"])
    content {
      name            = "by-${global_secondary_index.value}"
      hash_key        = global_secondary_index.value
      projection_type = "ALL"
    }
  }

  # As on AWS, one attribute has to be given up before another is taken.
  ttl {
    attribute_name = local.bare ? "until" : "expires"
    enabled        = !local.changed
  }

  point_in_time_recovery {
    enabled                 = !local.bare
    recovery_period_in_days = local.bare ? null : 7 + var.step
  }

  tags = local.tags
}

# One that gives its provisioned throughput up in the end, one that has some for a while.
resource "aws_dynamodb_contributor_insights" "this" {
  count      = local.bare ? 0 : 1
  table_name = aws_dynamodb_table.this.name
}

# Gone before its index is.
resource "aws_dynamodb_contributor_insights" "index" {
  count      = local.first ? 1 : 0
  table_name = aws_dynamodb_table.this.name
  index_name = "by-owner"
}

resource "aws_dynamodb_table" "provisioned" {
  for_each       = { provisioned = !local.bare, on-demand = local.changed }
  name           = "every-${each.key}"
  billing_mode   = each.value ? "PROVISIONED" : "PAY_PER_REQUEST"
  hash_key       = "id"
  read_capacity  = each.value ? 5 + var.step : null
  write_capacity = each.value ? 6 + var.step : null

  attribute {
    name = "id"
    type = "S"
  }

  attribute {
    name = "owner"
    type = "S"
  }

  global_secondary_index {
    name            = "by-owner"
    hash_key        = "owner"
    projection_type = "ALL"
    read_capacity   = each.value ? 7 + var.step : null
    write_capacity  = each.value ? 8 + var.step : null
  }
}

resource "aws_dynamodb_table" "capped" {
  name         = "every-capped"
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "id"

  server_side_encryption {
    enabled = local.changed
  }

  attribute {
    name = "id"
    type = "S"
  }

  attribute {
    name = "owner"
    type = "S"
  }

  global_secondary_index {
    name            = "by-owner"
    hash_key        = "owner"
    projection_type = "ALL"

    on_demand_throughput {
      max_read_request_units  = 30 + var.step
      max_write_request_units = 40 + var.step
    }
  }

  on_demand_throughput {
    max_read_request_units  = 10 + var.step
    max_write_request_units = 20 + var.step
  }
}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/every/group"
  retention_in_days = local.bare ? 0 : (local.first ? 7 : 14)
  kms_key_id        = local.bare ? null : "arn:aws:kms:us-east-1:123456789012:key/${var.step}"
  tags              = local.tags
}

resource "aws_cloudwatch_log_group" "other" {
  name = "/every/other"
}

resource "aws_cloudwatch_log_metric_filter" "this" {
  name           = "every"
  log_group_name = aws_cloudwatch_log_group.this.name
  pattern        = local.first ? "ERROR -retried" : "{ $.level = \"ERROR\" && ($.attempt > ${var.step} || $.last IS TRUE) }"

  metric_transformation {
    namespace     = "Every"
    name          = local.first ? "Errors" : "Attempts"
    value         = local.first ? "1" : "$.attempt"
    unit          = local.bare ? "None" : "Count"
    default_value = local.first ? "0" : null
    dimensions    = local.changed ? { Operation = "$.operation", Code = "$.codes[0]" } : null
  }
}

resource "aws_cloudwatch_log_metric_filter" "fields" {
  name           = "every-fields"
  log_group_name = aws_cloudwatch_log_group.other.name
  pattern        = local.first ? "[ip, ..., status = 5*, bytes > 1000]" : "[ip, ..., status = %^[45][0-9]+$%, bytes]"

  metric_transformation {
    namespace = "Every"
    name      = "Bytes"
    value     = "$bytes"
  }
}

resource "aws_lambda_function" "this" {
  function_name                  = "every"
  role                           = local.changed ? aws_iam_role.other.arn : aws_iam_role.this.arn
  filename                       = local.changed ? var.other_zip : var.zip
  source_code_hash               = filebase64sha256(local.changed ? var.other_zip : var.zip)
  architectures                  = [local.changed ? "arm64" : "x86_64"]
  publish                        = local.changed
  depends_on                     = [aws_iam_role_policy.this, aws_iam_role_policy.other]
  runtime                        = local.first ? "provided.al2023" : "provided.al2"
  handler                        = local.first ? "bootstrap" : "other"
  description                    = local.bare ? null : "step ${var.step}"
  timeout                        = 3 + var.step
  memory_size                    = 128 + var.step
  reserved_concurrent_executions = local.bare ? -1 : 5 + var.step
  layers                         = local.changed ? ["arn:aws:lambda:us-east-1:123456789012:layer:any:1"] : []
  kms_key_arn                    = local.bare ? null : "arn:aws:kms:us-east-1:123456789012:key/${var.step}"

  ephemeral_storage {
    size = 512 + var.step
  }

  dynamic "environment" {
    for_each = local.bare ? [] : [{ STEP = tostring(var.step) }]
    content {
      variables = environment.value
    }
  }

  dynamic "dead_letter_config" {
    for_each = local.bare ? [] : [local.first ? aws_sqs_queue.dead.arn : aws_sqs_queue.this.arn]
    content {
      target_arn = dead_letter_config.value
    }
  }

  tracing_config {
    mode = local.first ? "PassThrough" : "Active"
  }

  logging_config {
    log_format            = local.changed ? "JSON" : "Text"
    log_group             = local.changed ? aws_cloudwatch_log_group.this.name : aws_cloudwatch_log_group.other.name
    application_log_level = local.changed ? "DEBUG" : null
    system_log_level      = local.changed ? "WARN" : null
  }

  tags = local.tags
}

# What points to a function is pointed to another one.
resource "aws_lambda_function" "other" {
  function_name    = "every-other"
  role             = aws_iam_role.other.arn
  filename         = var.other_zip
  source_code_hash = filebase64sha256(var.other_zip)
  depends_on       = [aws_iam_role_policy.other]
  runtime          = "provided.al2023"
  handler          = "bootstrap"
}

# Publishes a version with each step.
resource "aws_lambda_function" "versioned" {
  function_name    = "every-versioned"
  role             = aws_iam_role.other.arn
  filename         = var.other_zip
  source_code_hash = filebase64sha256(var.other_zip)
  publish          = true
  depends_on       = [aws_iam_role_policy.other]
  runtime          = "provided.al2023"
  handler          = "bootstrap"
  timeout          = 3 + var.step
}

resource "aws_lambda_alias" "this" {
  name             = "live"
  function_name    = aws_lambda_function.versioned.function_name
  function_version = local.bare ? "2" : "1"
  description      = local.bare ? null : "step ${var.step}"
  # The name alone is known before the version is there.
  depends_on = [aws_lambda_function.versioned]

  dynamic "routing_config" {
    for_each = local.changed ? [0.25] : []
    content {
      additional_version_weights = { "2" = routing_config.value }
    }
  }
}

locals {
  function_arn = local.changed ? aws_lambda_function.other.arn : aws_lambda_function.this.arn
  invoke_arn   = local.changed ? aws_lambda_function.other.invoke_arn : aws_lambda_function.this.invoke_arn
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
  function_name                      = local.function_arn
  batch_size                         = local.first ? 10 : 5
  maximum_batching_window_in_seconds = local.first ? 0 : 1
  enabled                            = !local.changed
  function_response_types            = local.bare ? [] : ["ReportBatchItemFailures"]
  tags                               = local.tags

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

# Never due while the test lasts: nothing is invoked.
resource "aws_scheduler_schedule" "this" {
  name                         = "every"
  description                  = local.bare ? null : "step ${var.step}"
  schedule_expression          = local.first ? "cron(0 12 1 1 ? 2099)" : (local.changed ? "rate(5 minutes)" : "at(2099-01-01T12:00:00)")
  schedule_expression_timezone = local.changed ? "Europe/Berlin" : "UTC"
  start_date                   = local.changed ? "2098-01-01T00:00:00Z" : null
  end_date                     = local.changed ? "2099-01-01T00:00:00Z" : null
  state                        = local.changed ? "DISABLED" : "ENABLED"

  flexible_time_window {
    mode                      = local.changed ? "FLEXIBLE" : "OFF"
    maximum_window_in_minutes = local.changed ? 5 : null
  }

  target {
    arn      = local.bare ? aws_sqs_queue.this.arn : local.function_arn
    role_arn = local.changed ? aws_iam_role.other.arn : aws_iam_role.this.arn
    input    = local.bare ? null : jsonencode({ step = var.step })

    retry_policy {
      maximum_retry_attempts       = 2 + var.step
      maximum_event_age_in_seconds = 60 + var.step
    }

    dynamic "dead_letter_config" {
      for_each = local.bare ? [] : [local.first ? aws_sqs_queue.dead.arn : aws_sqs_queue.this.arn]
      content {
        arn = dead_letter_config.value
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
  dimensions          = { QueueName = local.first ? aws_sqs_queue.this.name : aws_sqs_queue.dead.name }
  statistic           = local.changed ? null : (local.first ? "Maximum" : "Sum")
  extended_statistic  = local.changed ? "p99" : null
  unit                = local.bare ? null : (local.first ? "Seconds" : "Count")
  period              = local.first ? 60 : 120
  evaluation_periods  = 2 + var.step
  datapoints_to_alarm = 1 + var.step
  threshold           = 10.5 + var.step
  comparison_operator = local.first ? "GreaterThanThreshold" : "LessThanThreshold"
  treat_missing_data  = local.first ? "notBreaching" : "breaching"
  actions_enabled     = local.first
  alarm_actions       = local.changed ? ["arn:aws:sns:us-east-1:123456789012:topic"] : []
  ok_actions          = local.bare ? [] : ["arn:aws:sns:us-east-1:123456789012:ok-${var.step}"]
  tags                = local.tags

  insufficient_data_actions = local.bare ? [] : ["arn:aws:sns:us-east-1:123456789012:unknown-${var.step}"]
}

resource "aws_cloudwatch_metric_alarm" "logged" {
  alarm_name          = "every-logged"
  namespace           = aws_cloudwatch_log_metric_filter.this.metric_transformation[0].namespace
  metric_name         = aws_cloudwatch_log_metric_filter.this.metric_transformation[0].name
  statistic           = "Sum"
  period              = 60
  evaluation_periods  = 1
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
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

resource "aws_cloudwatch_composite_alarm" "this" {
  alarm_name        = "every-composite"
  alarm_description = local.bare ? null : "step ${var.step}"
  alarm_rule        = local.first ? "ALARM(${aws_cloudwatch_metric_alarm.this.alarm_name}) OR NOT OK(\"${aws_cloudwatch_metric_alarm.math.arn}\")" : "ALARM(${aws_cloudwatch_metric_alarm.this.arn}) AND (TRUE OR FALSE)"
  alarm_actions     = local.changed ? ["arn:aws:sns:us-east-1:123456789012:topic"] : []
  ok_actions        = local.bare ? [] : ["arn:aws:sns:us-east-1:123456789012:ok-${var.step}"]
  tags              = local.tags

  insufficient_data_actions = local.bare ? [] : ["arn:aws:sns:us-east-1:123456789012:unknown-${var.step}"]

  dynamic "actions_suppressor" {
    for_each = local.bare ? [] : [var.step]
    content {
      alarm            = local.first ? aws_cloudwatch_metric_alarm.math.alarm_name : aws_cloudwatch_metric_alarm.math.arn
      wait_period      = 60 + actions_suppressor.value
      extension_period = 120 + actions_suppressor.value
    }
  }
}

resource "aws_apigatewayv2_api" "http" {
  name          = "every-${var.step}"
  protocol_type = "HTTP"
  description   = local.bare ? null : "step ${var.step}"
  version       = local.bare ? null : "v${var.step}"
  tags          = local.tags

  disable_execute_api_endpoint = local.changed

  dynamic "cors_configuration" {
    for_each = local.bare ? [] : [10 + var.step]
    content {
      allow_origins     = local.first ? ["https://app.example"] : ["https://app.example", "https://other.example"]
      allow_methods     = local.first ? ["GET"] : ["GET", "POST"]
      allow_headers     = local.first ? ["authorization"] : ["authorization", "content-type"]
      expose_headers    = local.first ? ["date"] : ["date", "etag"]
      allow_credentials = local.changed
      max_age           = cors_configuration.value
    }
  }
}

resource "aws_apigatewayv2_authorizer" "http" {
  api_id                            = aws_apigatewayv2_api.http.id
  name                              = "token-${var.step}"
  authorizer_type                   = "REQUEST"
  authorizer_uri                    = local.invoke_arn
  authorizer_payload_format_version = local.first ? "2.0" : "1.0"
  enable_simple_responses           = local.first
  identity_sources                  = local.first ? ["$request.header.Authorization"] : ["$request.header.Authorization", "$request.querystring.tenant"]
  authorizer_result_ttl_in_seconds  = 60 + var.step
}

# Nothing asks the issuer: no token comes. The emulator takes one of this machine only.
resource "aws_apigatewayv2_authorizer" "jwt" {
  api_id           = aws_apigatewayv2_api.http.id
  name             = "jwt-${var.step}"
  authorizer_type  = "JWT"
  identity_sources = [local.first ? "$request.header.Authorization" : "$request.querystring.token"]

  jwt_configuration {
    audience = local.first ? ["tasks"] : ["tasks", "others"]
    issuer   = "http://127.0.0.1:${1 + var.step}"
  }
}

resource "aws_apigatewayv2_integration" "http" {
  api_id                 = aws_apigatewayv2_api.http.id
  integration_type       = "AWS_PROXY"
  integration_uri        = local.invoke_arn
  payload_format_version = local.first ? "2.0" : "1.0"
  timeout_milliseconds   = 5000 + var.step
  description            = "step ${var.step}"

  request_parameters = local.bare ? null : {
    "overwrite:path"                                = "/step-${var.step}"
    "append:header.traced"                          = "$context.requestId"
    "remove:querystring.${local.first ? "a" : "b"}" = "''"
  }

  # The provider takes a status away whose mappings change, and adds it with the next apply: so those that stay are the same.
  dynamic "response_parameters" {
    for_each = local.bare ? [] : (local.first ? ["500"] : ["500", "404"])
    content {
      status_code = response_parameters.value
      mappings = {
        "overwrite:statuscode"  = "409"
        "append:header.service" = "$response.header.server"
      }
    }
  }
}

resource "aws_apigatewayv2_integration" "other" {
  api_id                 = aws_apigatewayv2_api.http.id
  integration_type       = "AWS_PROXY"
  integration_uri        = aws_lambda_function.other.invoke_arn
  payload_format_version = "2.0"
}

resource "aws_apigatewayv2_route" "http" {
  api_id             = aws_apigatewayv2_api.http.id
  route_key          = local.first ? "POST /tasks" : "GET /tasks"
  target             = "integrations/${local.changed ? aws_apigatewayv2_integration.other.id : aws_apigatewayv2_integration.http.id}"
  operation_name     = local.bare ? null : "Step${var.step}"
  authorization_type = local.bare ? "NONE" : "CUSTOM"
  authorizer_id      = local.bare ? null : aws_apigatewayv2_authorizer.http.id
}

resource "aws_apigatewayv2_route" "jwt" {
  api_id               = aws_apigatewayv2_api.http.id
  route_key            = "GET /tokens"
  target               = "integrations/${aws_apigatewayv2_integration.http.id}"
  authorization_type   = local.bare ? "NONE" : "JWT"
  authorizer_id        = local.bare ? null : aws_apigatewayv2_authorizer.jwt.id
  authorization_scopes = local.bare ? [] : (local.first ? ["read"] : ["read", "write"])
}

resource "aws_apigatewayv2_stage" "http" {
  api_id      = aws_apigatewayv2_api.http.id
  name        = "$default"
  auto_deploy = true
  description = local.bare ? null : "step ${var.step}"

  default_route_settings {
    detailed_metrics_enabled = local.changed
    throttling_burst_limit   = 100 + var.step
    throttling_rate_limit    = 50 + var.step
  }

  dynamic "route_settings" {
    for_each = local.bare ? [] : [10 + var.step]
    content {
      route_key                = aws_apigatewayv2_route.http.route_key
      detailed_metrics_enabled = local.changed
      throttling_burst_limit   = route_settings.value
      throttling_rate_limit    = route_settings.value
    }
  }

  dynamic "access_log_settings" {
    for_each = local.bare ? [] : ["$context.requestId ${var.step}"]
    content {
      destination_arn = local.first ? aws_cloudwatch_log_group.this.arn : aws_cloudwatch_log_group.other.arn
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
  authorizer_uri   = local.invoke_arn
  identity_sources = [local.first ? "route.request.querystring.token" : "route.request.header.token"]
}

resource "aws_apigatewayv2_integration" "websocket" {
  api_id               = aws_apigatewayv2_api.websocket.id
  integration_type     = "AWS_PROXY"
  integration_uri      = local.invoke_arn
  timeout_milliseconds = 4000 + var.step
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

resource "aws_iam_role" "gateway_logs" {
  name = "every-gateway-logs"
  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "sts:AssumeRole", Principal = { Service = "apigateway.amazonaws.com" } }]
  })
}

resource "aws_iam_role_policy_attachment" "gateway_logs" {
  role       = aws_iam_role.gateway_logs.name
  policy_arn = "arn:aws:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs"
}

resource "aws_api_gateway_account" "this" {
  cloudwatch_role_arn = aws_iam_role.gateway_logs.arn
  depends_on          = [aws_iam_role_policy_attachment.gateway_logs]
}

resource "aws_apigatewayv2_stage" "websocket" {
  depends_on      = [aws_api_gateway_account.this]
  api_id          = aws_apigatewayv2_api.websocket.id
  name            = "live"
  deployment_id   = aws_apigatewayv2_deployment.websocket.id
  stage_variables = { step = tostring(var.step) }

  default_route_settings {
    data_trace_enabled       = local.changed
    detailed_metrics_enabled = local.changed
    logging_level            = local.changed ? "INFO" : "OFF"
    throttling_burst_limit   = 200 + var.step
    throttling_rate_limit    = 100 + var.step
  }
}
