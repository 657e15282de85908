# A schedule may invoke the one function that it is for, at a time that is one.

mock_provider "aws" {
  source          = "./testing/mocks"
  override_during = plan
}

variables {
  name         = "test-audit-schedule"
  description  = "Looks by the clock."
  function_arn = "arn:aws:lambda:eu-central-1:123456789012:function:test-audit"
  expression   = "rate(1 minute)"
}

run "the_schedule_runs_as_a_role_of_its_own_that_can_do_nothing_else" {
  command = plan

  module {
    source = "./modules/function-schedule"
  }

  assert {
    condition = jsonencode(output.role) == jsonencode({
      may  = { "lambda:InvokeFunction" = ["arn:aws:lambda:eu-central-1:123456789012:function:test-audit"] }
      name = "test-audit-schedule"
    })
    error_message = "The schedule's role grants something else: ${jsonencode(output.role)}"
  }

  assert {
    condition = alltrue([
      one(flatten(data.aws_iam_policy_document.trust.statement[*].principals[*].identifiers[*])) == "scheduler.amazonaws.com",
      one(flatten(data.aws_iam_policy_document.trust.statement[*].condition[*].values[*])) == "123456789012",
      aws_scheduler_schedule.this.target[0].role_arn == aws_iam_role.this.arn,
      aws_scheduler_schedule.this.target[0].arn == var.function_arn,
    ])
    error_message = "Only schedules of this account may take the role, and the schedule must run as it."
  }

  assert {
    condition     = aws_scheduler_schedule.this.target[0].retry_policy[0].maximum_event_age_in_seconds == 60
    error_message = "An event that is older than the next run is worth nothing."
  }

  assert {
    condition = alltrue([
      aws_lambda_function_event_invoke_config.this.function_name == var.function_arn,
      aws_lambda_function_event_invoke_config.this.maximum_event_age_in_seconds == 60,
      aws_lambda_function_event_invoke_config.this.maximum_retry_attempts == 0,
    ])
    error_message = "Nor in Lambda's own queue, where the schedule's rule does not hold."
  }
}

run "any_function_and_any_text_are_refused" {
  command = plan

  module {
    source = "./modules/function-schedule"
  }

  variables {
    name         = "Upper"
    function_arn = "arn:aws:lambda:eu-central-1:123456789012:function:*"
    expression   = "every minute"
  }

  expect_failures = [var.name, var.function_arn, var.expression]
}
