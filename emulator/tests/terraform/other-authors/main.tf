# The same services as somebody else would use them: data sources, for_each and count, attachments instead of arguments,
# prefixes instead of names, code from a bucket.

data "aws_caller_identity" "current" {}
data "aws_region" "current" {}
data "aws_partition" "current" {}

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "work" {
  statement {
    sid       = "Queues"
    actions   = ["sqs:SendMessage", "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]
    resources = [for queue in aws_sqs_queue.work : queue.arn]
  }
  # What the functions cannot do goes to the dead letters in their role's name.
  statement {
    actions   = ["sqs:SendMessage"]
    resources = [for queue in aws_sqs_queue.dead : queue.arn]
  }
  statement {
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["arn:${data.aws_partition.current.partition}:logs:${data.aws_region.current.name}:${data.aws_caller_identity.current.account_id}:*"]
  }
}

locals {
  queues = {
    orders   = { retention = 86400, receives = 3 }
    payments = { retention = 345600, receives = 5 + var.step }
  }
}

resource "aws_iam_role" "worker" {
  name_prefix        = "worker-"
  path               = "/service/"
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

resource "aws_iam_policy" "work" {
  name_prefix = "work-"
  policy      = data.aws_iam_policy_document.work.json
}

resource "aws_iam_role_policy_attachment" "work" {
  role       = aws_iam_role.worker.name
  policy_arn = aws_iam_policy.work.arn
}

resource "aws_sqs_queue" "dead" {
  for_each = local.queues
  name     = "${each.key}-dead"
}

resource "aws_sqs_queue" "work" {
  for_each                  = local.queues
  name_prefix               = "${each.key}-"
  message_retention_seconds = each.value.retention
}

resource "aws_sqs_queue_redrive_policy" "work" {
  for_each  = local.queues
  queue_url = aws_sqs_queue.work[each.key].id
  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead[each.key].arn
    maxReceiveCount     = each.value.receives
  })
}

resource "aws_sqs_queue_redrive_allow_policy" "dead" {
  for_each  = local.queues
  queue_url = aws_sqs_queue.dead[each.key].id
  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [aws_sqs_queue.work[each.key].arn]
  })
}

resource "aws_sqs_queue_policy" "work" {
  queue_url = aws_sqs_queue.work["orders"].id
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Principal = "*", Action = "sqs:SendMessage", Resource = aws_sqs_queue.work["orders"].arn }]
  })
}

resource "aws_s3_bucket" "code" {
  bucket        = "code-of-another-author"
  force_destroy = true
}

resource "aws_s3_object" "code" {
  bucket = aws_s3_bucket.code.id
  key    = "worker.zip"
  source = var.zip
  etag   = filemd5(var.zip)
  # What a well-known module of functions sets by default.
  storage_class = var.step == 0 ? "ONEZONE_IA" : "STANDARD"
}

# What a bucket keeps besides its objects.
resource "aws_s3_bucket" "settled" {
  bucket        = "settled-by-another-author"
  force_destroy = true
}

resource "aws_s3_bucket" "locked" {
  bucket              = "locked-by-another-author"
  object_lock_enabled = true
  force_destroy       = true
}

# The provider reads it ten times, 5 s apart: it stays the same in all steps.
resource "aws_s3_bucket_lifecycle_configuration" "settled" {
  bucket = aws_s3_bucket.settled.id

  rule {
    id     = "old"
    status = "Enabled"

    filter {
      prefix = "old/"
    }

    expiration {
      days = 30
    }
  }
}

resource "aws_s3_bucket_logging" "settled" {
  bucket        = aws_s3_bucket.settled.id
  target_bucket = aws_s3_bucket.code.id
  target_prefix = "calls/${var.step}/"
}

resource "aws_s3_bucket_versioning" "settled" {
  bucket = aws_s3_bucket.settled.id

  versioning_configuration {
    status     = var.step == 1 ? "Suspended" : "Enabled"
    mfa_delete = "Disabled"
  }
}

resource "aws_s3_bucket_request_payment_configuration" "settled" {
  bucket = aws_s3_bucket.settled.id
  payer  = var.step == 0 ? "Requester" : "BucketOwner"
}

resource "aws_s3_bucket_accelerate_configuration" "settled" {
  bucket = aws_s3_bucket.settled.id
  status = var.step == 1 ? "Suspended" : "Enabled"
}

resource "aws_s3_bucket_ownership_controls" "settled" {
  bucket = aws_s3_bucket.settled.id

  rule {
    object_ownership = "ObjectWriter"
  }
}

resource "aws_s3_bucket_public_access_block" "settled" {
  bucket                  = aws_s3_bucket.settled.id
  block_public_acls       = false
  block_public_policy     = false
  ignore_public_acls      = false
  restrict_public_buckets = false
}

data "aws_canonical_user_id" "current" {}

resource "aws_s3_bucket_acl" "settled" {
  bucket     = aws_s3_bucket.settled.id
  depends_on = [aws_s3_bucket_ownership_controls.settled, aws_s3_bucket_public_access_block.settled]

  access_control_policy {
    owner {
      id = data.aws_canonical_user_id.current.id
    }

    grant {
      permission = "FULL_CONTROL"

      grantee {
        type = "CanonicalUser"
        id   = data.aws_canonical_user_id.current.id
      }
    }

    grant {
      permission = var.step == 1 ? "READ" : "READ_ACP"

      grantee {
        type = "Group"
        uri  = "http://acs.amazonaws.com/groups/global/AllUsers"
      }
    }
  }
}

# Documents with what a query and a form would read as something else.
resource "aws_iam_role" "spelled" {
  name = "spelled"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { AWS = data.aws_caller_identity.current.account_id }
      Condition = { StringEquals = { "sts:ExternalId" = "a+b=100%20 of ${var.step}" } }
    }]
  })
}

resource "aws_iam_role_policy" "spelled" {
  name = "spelled"
  role = aws_iam_role.spelled.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sqs:SendMessage"
      Resource  = "*"
      Condition = { StringEquals = { "aws:username" = "a+b 100% of ${var.step}" } }
    }]
  })
}

resource "aws_iam_policy" "spelled" {
  name   = "spelled"
  policy = aws_iam_role_policy.spelled.policy
}

resource "aws_lambda_function" "worker" {
  for_each      = local.queues
  function_name = "worker-${each.key}"
  role          = aws_iam_role.worker.arn
  runtime       = "provided.al2023"
  handler       = "bootstrap"
  architectures = ["x86_64"]
  s3_bucket     = aws_s3_bucket.code.id
  s3_key        = aws_s3_object.code.key
  publish       = true
  depends_on    = [aws_iam_role_policy_attachment.work]

  dead_letter_config {
    target_arn = aws_sqs_queue.dead[each.key].arn
  }
}

resource "aws_lambda_alias" "live" {
  for_each         = local.queues
  name             = "live"
  function_name    = aws_lambda_function.worker[each.key].function_name
  function_version = aws_lambda_function.worker[each.key].version
}

resource "aws_lambda_function_event_invoke_config" "worker" {
  function_name                = aws_lambda_function.worker["orders"].function_name
  maximum_retry_attempts       = 1
  maximum_event_age_in_seconds = 60 + var.step

  destination_config {
    on_failure {
      destination = aws_sqs_queue.dead["orders"].arn
    }
  }
}

resource "aws_lambda_event_source_mapping" "worker" {
  for_each         = local.queues
  event_source_arn = aws_sqs_queue.work[each.key].arn
  function_name    = aws_lambda_alias.live[each.key].arn
}

# All of an HTTP API in one resource.
resource "aws_apigatewayv2_api" "at_once" {
  name          = "at-once-${var.step}"
  protocol_type = "HTTP"
  target        = aws_lambda_function.worker["orders"].arn
}

resource "aws_cloudwatch_log_group" "worker" {
  count             = 2
  name              = "/aws/lambda/worker-${keys(local.queues)[count.index]}"
  retention_in_days = 7
}

resource "aws_ssm_parameter" "urls" {
  for_each        = local.queues
  name            = "/other/${each.key}/url"
  description     = "where ${each.key} wait, step ${var.step}"
  type            = "String"
  tier            = "Standard"
  allowed_pattern = "http.*#[0-9]+"
  value           = "${aws_sqs_queue.work[each.key].url}#${var.step}"
}

resource "aws_cloudwatch_dashboard" "all" {
  dashboard_name = "all"
  dashboard_body = jsonencode({ widgets = [{ type = "text", x = 0, y = 0, width = 1, height = 1, properties = { markdown = "step ${var.step}" } }] })
}

resource "aws_dynamodb_table" "ledger" {
  name             = "ledger"
  billing_mode     = "PAY_PER_REQUEST"
  hash_key         = "id"
  stream_enabled   = true
  stream_view_type = "NEW_AND_OLD_IMAGES"

  attribute {
    name = "id"
    type = "S"
  }
}

resource "aws_dynamodb_table_item" "first" {
  table_name = aws_dynamodb_table.ledger.name
  hash_key   = aws_dynamodb_table.ledger.hash_key
  item       = jsonencode({ id = { S = "first" }, step = { N = tostring(var.step) } })
}

resource "aws_apigatewayv2_api" "quick" {
  name          = "quick"
  protocol_type = "HTTP"
}

resource "aws_apigatewayv2_integration" "quick" {
  for_each               = local.queues
  api_id                 = aws_apigatewayv2_api.quick.id
  integration_type       = "AWS_PROXY"
  integration_uri        = aws_lambda_alias.live[each.key].invoke_arn
  payload_format_version = "2.0"
}

resource "aws_apigatewayv2_route" "quick" {
  for_each  = local.queues
  api_id    = aws_apigatewayv2_api.quick.id
  route_key = "ANY /${each.key}/{proxy+}"
  target    = "integrations/${aws_apigatewayv2_integration.quick[each.key].id}"
}

resource "aws_apigatewayv2_deployment" "quick" {
  api_id = aws_apigatewayv2_api.quick.id

  triggers = {
    routes = sha1(jsonencode([for route in aws_apigatewayv2_route.quick : route.route_key]))
    step   = var.step
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_apigatewayv2_stage" "quick" {
  api_id        = aws_apigatewayv2_api.quick.id
  name          = "v1"
  deployment_id = aws_apigatewayv2_deployment.quick.id
}

resource "aws_fis_experiment_template" "pause" {
  description = "step ${var.step}"
  role_arn    = aws_iam_role.worker.arn

  stop_condition {
    source = "none"
  }

  action {
    name      = "pause"
    action_id = "aws:fis:wait"

    parameter {
      key   = "duration"
      value = "PT${1 + var.step}M"
    }
  }
}

output "account" {
  value = data.aws_caller_identity.current.account_id
}
