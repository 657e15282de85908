# Keys and indexes are a contract with the functions' code.

mock_provider "aws" {
  source = "./testing/mocks"
}

variables {
  name_prefix = "test"
}

run "the_tables_have_the_keys_and_indexes_that_the_functions_query" {
  command = plan

  module {
    source = "./modules/task-table"
  }

  assert {
    condition     = aws_dynamodb_table.tasks.hash_key == "task_id" && aws_dynamodb_table.tasks.range_key == null
    error_message = "A task is found by its id alone."
  }

  assert {
    condition = [
      for index in aws_dynamodb_table.tasks.global_secondary_index :
      [index.name, index.hash_key, index.range_key, index.projection_type]
    ] == [["owner-index", "owner_shard", "owner_sort", "INCLUDE"]]
    error_message = "GET /tasks pages over owner-index."
  }

  assert {
    # SHOWN in lambdas/aws/src/item.rs, without the table's key.
    condition = one(aws_dynamodb_table.tasks.global_secondary_index).non_key_attributes == toset([
      "attempts", "created_at_ms", "error_message", "error_type", "kind", "result", "status", "updated_at_ms", "version",
    ])
    error_message = "The index has what is shown of a task and filtered by, and no payloads."
  }

  assert {
    condition     = aws_dynamodb_table.connections.hash_key == "owner" && aws_dynamodb_table.connections.range_key == "connection_id"
    error_message = "Connections are found by owner."
  }

  assert {
    condition = alltrue([
      for table in [aws_dynamodb_table.tasks, aws_dynamodb_table.connections] :
      table.billing_mode == "PAY_PER_REQUEST" && table.ttl[0].enabled && table.ttl[0].attribute_name == "expires_at_seconds"
    ])
    error_message = "Both tables scale on demand and forget in time."
  }

  assert {
    condition     = aws_dynamodb_table.tasks.point_in_time_recovery[0].enabled && !aws_dynamodb_table.tasks.deletion_protection_enabled
    error_message = "By default tasks are backed up, and a destroy leaves nothing."
  }
}

run "capacity_can_be_provisioned_for_the_table_and_its_index" {
  command = plan

  module {
    source = "./modules/task-table"
  }

  variables {
    provisioned_capacity = { read_units = 50, write_units = 20 }
  }

  assert {
    condition = [
      aws_dynamodb_table.tasks.billing_mode, aws_dynamodb_table.tasks.read_capacity, aws_dynamodb_table.tasks.write_capacity,
      one(aws_dynamodb_table.tasks.global_secondary_index).read_capacity,
      one(aws_dynamodb_table.tasks.global_secondary_index).write_capacity,
    ] == ["PROVISIONED", 50, 20, 50, 20]
    error_message = "Table and index must have the capacity that was asked for."
  }
}

run "no_capacity_is_refused" {
  command = plan

  module {
    source = "./modules/task-table"
  }

  variables {
    provisioned_capacity = { read_units = 50, write_units = 0 }
  }

  expect_failures = [var.provisioned_capacity]
}

run "a_name_that_would_not_fit_everywhere_is_refused" {
  command = plan

  module {
    source = "./modules/task-table"
  }

  variables {
    name_prefix = "9lives"
  }

  expect_failures = [var.name_prefix]
}
