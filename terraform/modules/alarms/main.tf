# Few, and each a thing that a person must act on. No data is no fault: an idle stack is a healthy one.

resource "aws_cloudwatch_metric_alarm" "dead_letters" {
  alarm_name        = "${var.name_prefix}-dead-letters"
  alarm_description = "Tasks failed for good and wait in the dead-letter queue. Read them, mend the cause, redrive."

  # Both, since the auditor hides every letter for some seconds of each minute: a sample of the visible ones alone may fall
  # into them each time.
  metric_query {
    id          = "letters"
    expression  = "visible + hidden"
    label       = "Messages in the dead-letter queue"
    return_data = true
  }

  dynamic "metric_query" {
    for_each = {
      visible = "ApproximateNumberOfMessagesVisible"
      hidden  = "ApproximateNumberOfMessagesNotVisible"
    }

    content {
      id = metric_query.key

      metric {
        namespace   = "AWS/SQS"
        metric_name = metric_query.value
        dimensions  = { QueueName = var.dead_letter_queue_name }
        stat        = "Maximum"
        period      = 60
      }
    }
  }

  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.action_arns
  ok_actions          = var.action_arns
}

resource "aws_cloudwatch_metric_alarm" "queue_age" {
  alarm_name        = "${var.name_prefix}-queue-age"
  alarm_description = "Accepted tasks wait too long: the worker's mapping is off, or the worker is throttled, failing or too slow."

  namespace           = "AWS/SQS"
  metric_name         = "ApproximateAgeOfOldestMessage"
  dimensions          = { QueueName = var.task_queue_name }
  statistic           = "Maximum"
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.queue_age_seconds_max
  period              = 60
  evaluation_periods  = 3 # one slow minute is a burst; three are a backlog
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.action_arns
  ok_actions          = var.action_arns
}

# Invocations that failed as a whole. A task that fails is no error of the worker: it is reported in the batch response.
resource "aws_cloudwatch_metric_alarm" "worker_errors" {
  alarm_name        = "${var.name_prefix}-worker-errors"
  alarm_description = "The worker crashes or times out; whole batches come back and are tried again."

  namespace           = "AWS/Lambda"
  metric_name         = "Errors"
  dimensions          = { FunctionName = var.worker_function_name }
  statistic           = "Sum"
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.worker_errors_max
  period              = 60
  evaluation_periods  = 3
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.action_arns
  ok_actions          = var.action_arns
}

# A batch that Lambda did not let in has used up a receive of each of its tasks. No error of the worker: it never ran.
resource "aws_cloudwatch_metric_alarm" "worker_throttles" {
  alarm_name        = "${var.name_prefix}-worker-throttles"
  alarm_description = "Lambda throttles the worker: tasks use up their receives, and are dead letters that no worker has seen."

  namespace           = "AWS/Lambda"
  metric_name         = "Throttles"
  dimensions          = { FunctionName = var.worker_function_name }
  statistic           = "Sum"
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  period              = 60
  evaluation_periods  = 3 # a burst that is throttled for a moment costs a receive; minutes cost tasks
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.action_arns
  ok_actions          = var.action_arns
}

# Dead letters are marked, and their owners told, by nobody else. It runs by the clock, every five minutes at least, so that one
# failure is made up for by the next run.
resource "aws_cloudwatch_metric_alarm" "audit_errors" {
  alarm_name        = "${var.name_prefix}-audit-errors"
  alarm_description = "The auditor fails each time, or is throttled: dead letters are not marked, and their owners are not told."

  # Whichever has values: a run that Lambda did not let in is no error.
  metric_query {
    id          = "failed"
    expression  = "SUM(METRICS())"
    label       = "Audits that failed"
    return_data = true
  }

  dynamic "metric_query" {
    for_each = {
      errors    = "Errors"
      throttles = "Throttles"
    }

    content {
      id = metric_query.key

      metric {
        namespace   = "AWS/Lambda"
        metric_name = metric_query.value
        dimensions  = { FunctionName = var.audit_function_name }
        stat        = "Sum"
        period      = 300
      }
    }
  }

  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  evaluation_periods  = 3
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.action_arns
  ok_actions          = var.action_arns
}

# WebSocket APIs have no 5xx. AWS counts a call of a function that failed as the first, and a 5xx that a function answered as one of
# the two: its guide says the second, and what was recorded the first.
resource "aws_cloudwatch_metric_alarm" "websocket" {
  for_each = {
    execution   = "ExecutionError"
    integration = "IntegrationError"
  }

  alarm_name        = "${var.name_prefix}-websocket-${each.key}-errors"
  alarm_description = "Clients cannot connect, or their messages are not answered."

  namespace           = "AWS/ApiGateway"
  metric_name         = each.value
  dimensions          = { ApiId = var.websocket_api_id }
  statistic           = "Sum"
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.websocket_errors_max
  period              = 60
  evaluation_periods  = 3
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.action_arns
  ok_actions          = var.action_arns
}

resource "aws_cloudwatch_metric_alarm" "http_5xx" {
  alarm_name        = "${var.name_prefix}-http-5xx"
  alarm_description = "Clients get 5xx: tasks are refused or cannot be read."

  namespace           = "AWS/ApiGateway"
  metric_name         = "5xx" # HTTP APIs name it so; REST APIs say 5XXError
  dimensions          = { ApiId = var.http_api_id }
  statistic           = "Average" # a share of all requests, since each counts as 0 or 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.http_5xx_share_max
  period              = 60
  evaluation_periods  = 3
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.action_arns
  ok_actions          = var.action_arns
}
