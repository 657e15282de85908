# The rules between times and counts that keep a task from being lost, doubled or given up too early.
# Terraform starts the provider anew for every run, so each run asserts as much as it can.

mock_provider "aws" {
  source          = "./testing/mocks"
  override_during = plan

  # The two queues have ARNs of their own, as on AWS; the module checks that it guessed them.
  override_resource {
    target = aws_sqs_queue.tasks
    values = { arn = "arn:aws:sqs:eu-central-1:123456789012:test-tasks", url = "https://sqs.test/test-tasks" }
  }

  override_resource {
    target = aws_sqs_queue.dead_letters
    values = { arn = "arn:aws:sqs:eu-central-1:123456789012:test-tasks-dlq", url = "https://sqs.test/test-tasks-dlq" }
  }
}

variables {
  name_prefix              = "test"
  function_timeout_seconds = 10
}

run "the_defaults_keep_every_rule" {
  command = plan

  module {
    source = "./modules/task-queue"
  }

  assert {
    condition     = aws_sqs_queue.tasks.visibility_timeout_seconds == 60
    error_message = "A message must stay hidden for 6 x 10 s, not ${aws_sqs_queue.tasks.visibility_timeout_seconds} s."
  }

  assert {
    condition     = jsondecode(aws_sqs_queue.tasks.redrive_policy).maxReceiveCount == 5
    error_message = "A task must be tried 5 times before it is dead-lettered."
  }

  assert {
    condition     = jsondecode(aws_sqs_queue.tasks.redrive_policy).deadLetterTargetArn == aws_sqs_queue.dead_letters.arn
    error_message = "The tasks queue must dead-letter into its own dead-letter queue."
  }

  assert {
    condition     = [aws_sqs_queue.tasks.message_retention_seconds, aws_sqs_queue.dead_letters.message_retention_seconds] == [10 * 86400, 14 * 86400]
    error_message = "docs/operations.md says for how many days a task waits for a worker, and a dead letter for somebody who reads it."
  }

  assert {
    condition     = aws_sqs_queue.dead_letters.message_retention_seconds > aws_sqs_queue.tasks.message_retention_seconds
    error_message = "Retention counts from the first enqueue: the dead-letter queue's must be longer."
  }

  assert {
    condition     = jsondecode(aws_sqs_queue.dead_letters.redrive_allow_policy).redrivePermission == "byQueue"
    error_message = "Not just any queue may dead-letter here."
  }

  assert {
    condition     = jsondecode(aws_sqs_queue.dead_letters.redrive_allow_policy).sourceQueueArns == [aws_sqs_queue.tasks.arn]
    error_message = "Only the tasks queue may dead-letter here."
  }

  assert {
    condition     = output.planned_arns.tasks == output.tasks.arn && output.planned_arns.dead_letters == output.dead_letters.arn
    error_message = "Policies are built from planned_arns: they must be the queues' ARNs."
  }

  assert {
    condition     = output.planned_tasks_url == output.tasks.url
    error_message = "Functions are given planned_tasks_url: it must be the queue's URL."
  }
}

run "the_visibility_timeout_may_be_as_short_as_six_timeouts_and_the_window" {
  command = plan

  module {
    source = "./modules/task-queue"
  }

  variables {
    batching_window_seconds    = 5
    visibility_timeout_seconds = 65
    max_receive_count          = 8
  }

  assert {
    condition     = aws_sqs_queue.tasks.visibility_timeout_seconds == 65
    error_message = "65 s is allowed and was asked for."
  }

  assert {
    condition     = jsondecode(aws_sqs_queue.tasks.redrive_policy).maxReceiveCount == 8
    error_message = "8 tries are allowed and were asked for."
  }
}

run "one_second_less_four_tries_and_an_equal_retention_are_refused" {
  command = plan

  module {
    source = "./modules/task-queue"
  }

  variables {
    batching_window_seconds       = 5
    visibility_timeout_seconds    = 64
    max_receive_count             = 4
    retention_seconds             = 600
    dead_letter_retention_seconds = 600
  }

  expect_failures = [
    var.visibility_timeout_seconds,
    var.max_receive_count,
    var.dead_letter_retention_seconds,
  ]
}

# 949 receives with 910 s between them fit into 10 days.
run "as_many_receives_as_fit_into_the_retention_are_allowed" {
  command = plan

  module {
    source = "./modules/task-queue"
  }

  variables {
    max_receive_count = 949
  }

  assert {
    condition     = jsondecode(aws_sqs_queue.tasks.redrive_policy).maxReceiveCount == 949
    error_message = "949 tries are allowed and were asked for."
  }
}

run "receives_that_outlast_the_retention_are_refused" {
  command = plan

  module {
    source = "./modules/task-queue"
  }

  variables {
    max_receive_count = 1000
  }

  expect_failures = [aws_sqs_queue.tasks]
}

# A visibility timeout above 15 minutes is also the longest pause.
run "receives_with_a_long_visibility_timeout_that_outlast_the_retention_are_refused" {
  command = plan

  module {
    source = "./modules/task-queue"
  }

  variables {
    visibility_timeout_seconds = 43200
    max_receive_count          = 20
  }

  expect_failures = [aws_sqs_queue.tasks]
}

run "values_that_aws_does_not_know_are_refused" {
  command = plan

  module {
    source = "./modules/task-queue"
  }

  variables {
    name_prefix              = "Upper"
    function_timeout_seconds = 901
    batching_window_seconds  = 301
    max_receive_count        = 1001
    retention_seconds        = 59
  }

  expect_failures = [
    var.name_prefix,
    var.function_timeout_seconds,
    var.batching_window_seconds,
    var.max_receive_count,
    var.retention_seconds,
  ]
}

# Apart from the run above: a rule between variables is judged only where the others are valid.
run "times_beyond_what_sqs_keeps_are_refused" {
  command = plan

  module {
    source = "./modules/task-queue"
  }

  variables {
    visibility_timeout_seconds    = 43201
    dead_letter_retention_seconds = 1209601
  }

  expect_failures = [var.visibility_timeout_seconds, var.dead_letter_retention_seconds]
}
