output "tasks" {
  description = "The tasks queue, once it exists."
  value = {
    name = aws_sqs_queue.tasks.name
    url  = aws_sqs_queue.tasks.url
    arn  = aws_sqs_queue.tasks.arn
  }
}

output "visibility_timeout_seconds" {
  description = "How long a received task stays hidden."
  value       = local.visibility_timeout_seconds
}

output "max_receive_count" {
  description = "How often a task is handed out before it goes to the dead-letter queue."
  value       = var.max_receive_count
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

output "planned_tasks_url" {
  description = "URL of the tasks queue, known as soon as the dead-letter queue exists."
  value       = local.tasks_url
}

output "planned_names" {
  description = "Both names, likewise."
  value = {
    tasks        = local.tasks_name
    dead_letters = local.dead_letters_name
  }
}
