output "role" {
  description = "The schedule's own role, and on which resources it may do what."
  value = {
    name = aws_iam_role.this.name
    may = {
      for statement in data.aws_iam_policy_document.permissions.statement :
      one(statement.actions) => tolist(statement.resources)
    }
  }
}

output "expression" {
  description = "When the function runs."
  value       = aws_scheduler_schedule.this.schedule_expression
}
