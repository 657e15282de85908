output "arns" {
  description = "All alarms, by what they watch."
  value = {
    dead_letters          = aws_cloudwatch_metric_alarm.dead_letters.arn
    queue_age             = aws_cloudwatch_metric_alarm.queue_age.arn
    worker_errors         = aws_cloudwatch_metric_alarm.worker_errors.arn
    worker_throttles      = aws_cloudwatch_metric_alarm.worker_throttles.arn
    audit_errors          = aws_cloudwatch_metric_alarm.audit_errors.arn
    websocket_execution   = aws_cloudwatch_metric_alarm.websocket["execution"].arn
    websocket_integration = aws_cloudwatch_metric_alarm.websocket["integration"].arn
    http_5xx              = aws_cloudwatch_metric_alarm.http_5xx.arn
  }
}

output "queue_age_seconds_max" {
  description = "Age of the oldest waiting task that is still fine."
  value       = aws_cloudwatch_metric_alarm.queue_age.threshold
}
