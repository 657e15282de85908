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
