output "tasks" {
  description = "The tasks queue, once it exists."
  value = {
    name                       = aws_sqs_queue.tasks.name
    url                        = aws_sqs_queue.tasks.url
    arn                        = aws_sqs_queue.tasks.arn
    visibility_timeout_seconds = local.visibility_timeout_seconds
    max_receive_count          = var.max_receive_count
  }
}

output "dead_letters" {
  description = "The dead-letter queue, once it exists."
  value = {
    name = aws_sqs_queue.dead_letters.name
    url  = aws_sqs_queue.dead_letters.url
    arn  = aws_sqs_queue.dead_letters.arn
  }
}

output "planned_arns" {
  description = "Both ARNs, known before the queues exist: for policies, which need not wait for them."
  value = {
    tasks        = local.tasks_arn
    dead_letters = local.dead_letters_arn
  }
}

output "planned_names" {
  description = "Both names, likewise."
  value = {
    tasks        = local.tasks_name
    dead_letters = local.dead_letters_name
  }
}
