output "tasks" {
  description = "The tasks table and its index."
  value = {
    name            = aws_dynamodb_table.tasks.name
    arn             = aws_dynamodb_table.tasks.arn
    owner_index_arn = "${aws_dynamodb_table.tasks.arn}/index/${local.owner_index}"
  }
}

output "connections" {
  description = "The connections table."
  value = {
    name = aws_dynamodb_table.connections.name
    arn  = aws_dynamodb_table.connections.arn
  }
}
