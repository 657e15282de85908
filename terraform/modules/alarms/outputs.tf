output "arns" {
  description = "All alarms, by what they watch."
  value = {
    dead_letters  = aws_cloudwatch_metric_alarm.dead_letters.arn
    queue_age     = aws_cloudwatch_metric_alarm.queue_age.arn
    worker_errors = aws_cloudwatch_metric_alarm.worker_errors.arn
    http_5xx      = aws_cloudwatch_metric_alarm.http_5xx.arn
  }
}
