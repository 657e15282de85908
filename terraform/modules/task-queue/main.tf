data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  tasks_name        = "${var.name_prefix}-tasks"
  dead_letters_name = "${var.name_prefix}-tasks-dlq"

  # Built from names, because each queue names the other, and so that policies need not wait for the queues.
  arn_prefix = join(":", [
    "arn", data.aws_partition.current.partition, "sqs",
    data.aws_region.current.name, data.aws_caller_identity.current.account_id,
  ])
  tasks_arn        = "${local.arn_prefix}:${local.tasks_name}"
  dead_letters_arn = "${local.arn_prefix}:${local.dead_letters_name}"

  # The two URLs differ in the name at their end, on AWS as on an emulator. Functions that only need to know the URL
  # are made while the tasks queue is still being polled (25 s), which the postcondition below keeps honest.
  tasks_url = "${trimsuffix(aws_sqs_queue.dead_letters.url, local.dead_letters_name)}${local.tasks_name}"

  # AWS: "set the source queue's visibility timeout to at least six times" the function timeout, plus the batching
  # window. A shorter one hands a message to a second worker while the first may still finish it.
  visibility_timeout_seconds_min = 6 * var.function_timeout_seconds + var.batching_window_seconds
  visibility_timeout_seconds     = coalesce(var.visibility_timeout_seconds, local.visibility_timeout_seconds_min)

  # From one receive of a failing task to the next, at most: the attempt, and the longest pause after it, which is
  # limits::BACKOFF_CEILING, or the visibility timeout where that is longer.
  seconds_per_receive_max = var.function_timeout_seconds + max(900, local.visibility_timeout_seconds)
}

# Created before the source queue: SQS refuses a redrive policy whose target does not exist.
resource "aws_sqs_queue" "dead_letters" {
  name = local.dead_letters_name

  # On a standard queue the clock starts at the first enqueue, not at the move, hence longer than the source's.
  message_retention_seconds = var.dead_letter_retention_seconds
  sqs_managed_sse_enabled   = true

  # Only the tasks queue may dead-letter here, so that what is found here is always ours.
  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [local.tasks_arn]
  })

  lifecycle {
    postcondition {
      condition     = self.arn == local.dead_letters_arn
      error_message = "The dead-letter queue's ARN is not the one that policies were built with."
    }
  }
}

resource "aws_sqs_queue" "tasks" {
  name                       = local.tasks_name
  visibility_timeout_seconds = local.visibility_timeout_seconds
  message_retention_seconds  = var.retention_seconds
  sqs_managed_sse_enabled    = true

  # Inline, not a resource of its own: the queue never exists without it, and each SQS step costs 25 s of polling.
  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead_letters.arn
    maxReceiveCount     = var.max_receive_count
  })

  lifecycle {
    precondition {
      condition     = var.max_receive_count * local.seconds_per_receive_max <= var.retention_seconds
      error_message = "max_receive_count x (the function's timeout + 900, or the visibility timeout where that is longer) must be at most retention_seconds: otherwise SQS deletes a failing task before it comes to the dead-letter queue."
    }

    postcondition {
      condition     = self.arn == local.tasks_arn
      error_message = "The tasks queue's ARN is not the one that policies were built with."
    }

    postcondition {
      condition     = self.url == local.tasks_url
      error_message = "The tasks queue's URL is not the one that the functions were given."
    }
  }
}
