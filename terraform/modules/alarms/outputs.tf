output "arns" {
  description = "All alarms, by what they watch."
  value = {
    dead_letters     = aws_cloudwatch_metric_alarm.dead_letters.arn
    queue_age        = aws_cloudwatch_metric_alarm.queue_age.arn
    worker_errors    = aws_cloudwatch_metric_alarm.worker_errors.arn
    worker_throttles = aws_cloudwatch_metric_alarm.worker_throttles.arn
    http_5xx         = aws_cloudwatch_metric_alarm.http_5xx.arn
  }
}

output "queue_age_seconds_max" {
  description = "Age of the oldest waiting task that is still fine."
  value       = aws_cloudwatch_metric_alarm.queue_age.threshold
}
