output "name" {
  description = "Name of the function."
  value       = aws_lambda_function.this.function_name
}

output "arn" {
  description = "ARN of the function, without a qualifier."
  value       = aws_lambda_function.this.arn
}

output "invoke_arn" {
  description = "ARN by which API Gateway calls the function."
  value       = aws_lambda_function.this.invoke_arn
}

output "timeout_seconds" {
  description = "When Lambda kills an invocation."
  value       = aws_lambda_function.this.timeout
}

output "role" {
  description = "The function's own role, and on which resources it may do what."
  value = {
    name = aws_iam_role.this.name
    arn  = aws_iam_role.this.arn
    may = {
      for action in distinct(flatten(data.aws_iam_policy_document.permissions.statement[*].actions)) :
      action => sort(distinct(flatten([
        for statement in data.aws_iam_policy_document.permissions.statement :
        statement.resources if contains(statement.actions, action)
      ])))
    }
  }
}

output "reserved_concurrency" {
  description = "Concurrency set aside for this function; -1 shares the account's."
  value       = aws_lambda_function.this.reserved_concurrent_executions
}
