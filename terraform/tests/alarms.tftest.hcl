# An alarm that watches the wrong thing is worse than none.

mock_provider "aws" {
  source = "./testing/mocks"
}

variables {
  name_prefix            = "test"
  task_queue_name        = "test-tasks"
  dead_letter_queue_name = "test-tasks-dlq"
  worker_function_name   = "test-process-task"
  audit_function_name    = "test-audit-dead-letters"
  http_api_id            = "http123"
  websocket_api_id       = "websocket123"
  queue_age_seconds_max  = 120
  action_arns            = ["arn:aws:sns:eu-central-1:123456789012:pager"]
}

run "each_alarm_watches_its_own_metric_and_tells_the_pager" {
  command = plan

  module {
    source = "./modules/alarms"
  }

  assert {
    condition = [
      for alarm in [
        aws_cloudwatch_metric_alarm.queue_age, aws_cloudwatch_metric_alarm.worker_errors,
        aws_cloudwatch_metric_alarm.worker_throttles, aws_cloudwatch_metric_alarm.http_5xx,
        aws_cloudwatch_metric_alarm.websocket["execution"], aws_cloudwatch_metric_alarm.websocket["integration"],
      ] : join(" ", [alarm.namespace, alarm.metric_name, one(keys(alarm.dimensions)), one(values(alarm.dimensions))])
      ] == [
      "AWS/SQS ApproximateAgeOfOldestMessage QueueName test-tasks",
      "AWS/Lambda Errors FunctionName test-process-task",
      "AWS/Lambda Throttles FunctionName test-process-task",
      "AWS/ApiGateway 5xx ApiId http123",
      "AWS/ApiGateway ExecutionError ApiId websocket123",
      "AWS/ApiGateway IntegrationError ApiId websocket123",
    ]
    error_message = "An alarm watches something else."
  }

  assert {
    # As JSON, since equality would also compare how the collections are typed.
    condition = jsonencode({
      for query in aws_cloudwatch_metric_alarm.dead_letters.metric_query : query.id => query.return_data == true ? query.expression : join(" ", [
        query.metric[0].namespace, query.metric[0].metric_name, query.metric[0].stat, query.metric[0].period, query.metric[0].dimensions.QueueName,
      ])
      }) == jsonencode({
      letters = "visible + hidden"
      visible = "AWS/SQS ApproximateNumberOfMessagesVisible Maximum 60 test-tasks-dlq"
      hidden  = "AWS/SQS ApproximateNumberOfMessagesNotVisible Maximum 60 test-tasks-dlq"
    })
    error_message = "Letters that the auditor has hidden for the moment must be counted as well: ${jsonencode(aws_cloudwatch_metric_alarm.dead_letters.metric_query)}"
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.dead_letters.threshold == 0 && aws_cloudwatch_metric_alarm.dead_letters.evaluation_periods == 1
    error_message = "One dead letter is reason enough, at once."
  }

  assert {
    condition = (
      aws_cloudwatch_metric_alarm.queue_age.threshold == var.queue_age_seconds_max &&
      aws_cloudwatch_metric_alarm.queue_age.period * aws_cloudwatch_metric_alarm.queue_age.evaluation_periods == 180
    )
    error_message = "docs/operations.md says when a worker that is down is told of: minutes, and not the days after which SQS deletes what waits."
  }

  assert {
    condition = (
      aws_cloudwatch_metric_alarm.worker_throttles.statistic == "Sum" &&
      aws_cloudwatch_metric_alarm.worker_throttles.threshold == 0 &&
      aws_cloudwatch_metric_alarm.worker_throttles.period * aws_cloudwatch_metric_alarm.worker_throttles.evaluation_periods == 180
    )
    error_message = "Of a worker that is throttled somebody must hear before its tasks have used up five receives of a minute."
  }

  assert {
    condition = jsonencode({
      for query in aws_cloudwatch_metric_alarm.audit_errors.metric_query : query.id => query.return_data == true ? query.expression : join(" ", [
        query.metric[0].namespace, query.metric[0].metric_name, query.metric[0].stat, query.metric[0].period, query.metric[0].dimensions.FunctionName,
      ])
      }) == jsonencode({
      errors    = "AWS/Lambda Errors Sum 300 test-audit-dead-letters"
      failed    = "SUM(METRICS())"
      throttles = "AWS/Lambda Throttles Sum 300 test-audit-dead-letters"
    })
    error_message = "An audit that is not let in fails as well: ${jsonencode(aws_cloudwatch_metric_alarm.audit_errors.metric_query)}"
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.audit_errors.threshold == 0 && aws_cloudwatch_metric_alarm.audit_errors.evaluation_periods == 3
    error_message = "One audit that fails is made up for by the next; a quarter of an hour of them is not."
  }

  assert {
    condition = alltrue([
      for alarm in values(aws_cloudwatch_metric_alarm.websocket) : alarm.statistic == "Sum" && alarm.period * alarm.evaluation_periods == 180
    ])
    error_message = "A socket that fails is made up for by its client; three minutes of them are not."
  }

  assert {
    condition = alltrue([
      for alarm in [
        aws_cloudwatch_metric_alarm.dead_letters, aws_cloudwatch_metric_alarm.queue_age,
        aws_cloudwatch_metric_alarm.worker_errors, aws_cloudwatch_metric_alarm.worker_throttles, aws_cloudwatch_metric_alarm.http_5xx,
        aws_cloudwatch_metric_alarm.audit_errors, aws_cloudwatch_metric_alarm.websocket["execution"],
        aws_cloudwatch_metric_alarm.websocket["integration"],
      ] : alarm.treat_missing_data == "notBreaching" && alarm.alarm_actions == toset(var.action_arns) && alarm.ok_actions == toset(var.action_arns)
    ])
    error_message = "An idle stack is healthy, and the pager hears of both changes."
  }
}
