# One function, invoked by the clock, by a role that can do nothing else.

data "aws_caller_identity" "current" {}

data "aws_iam_policy_document" "trust" {
  statement {
    sid     = "LetSchedulesOfThisAccountRunAsThisRole"
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["scheduler.amazonaws.com"]
    }

    # Another account's schedule must not borrow this role through the service.
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }
  }
}

resource "aws_iam_role" "this" {
  name               = var.name
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

data "aws_iam_policy_document" "permissions" {
  statement {
    sid       = "InvokeTheFunction"
    actions   = ["lambda:InvokeFunction"]
    resources = [var.function_arn]
  }
}

resource "aws_iam_role_policy" "this" {
  name   = "permissions"
  role   = aws_iam_role.this.id
  policy = data.aws_iam_policy_document.permissions.json
}

locals {
  event_age_seconds_max = 60 # the least that either queue takes
}

# The schedule is done once Lambda has queued the event, which Lambda would keep for six hours and try three times.
resource "aws_lambda_function_event_invoke_config" "this" {
  function_name                = var.function_arn
  maximum_event_age_in_seconds = local.event_age_seconds_max
  maximum_retry_attempts       = 0
}

resource "aws_scheduler_schedule" "this" {
  name                = var.name
  description         = var.description
  schedule_expression = var.expression

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = var.function_arn
    role_arn = aws_iam_role.this.arn

    # The next run does what this one would have done: an old event is worth nothing. The defaults are 185 and a day.
    retry_policy {
      maximum_retry_attempts       = 2
      maximum_event_age_in_seconds = local.event_age_seconds_max
    }
  }

  # The first run must find its permission, and be given up as every other.
  depends_on = [aws_iam_role_policy.this, aws_lambda_function_event_invoke_config.this]
}
