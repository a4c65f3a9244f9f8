package payments.systems.terminal

permit if {
	input.call.operation == "stream_messages"
	sent
}

permit if {
	input.call.operation == "acknowledge_messages"
	sent
	is_number(input.call.up_to)
	input.call.up_to >= 0
}

deny contains reason if {
	input.call.operation == "acknowledge_messages"
	sent
	not input.call.up_to >= 0
	reason := {
		"code": "message_number_invalid",
		"message": "Messages have numbers from 1 on.",
	}
}
