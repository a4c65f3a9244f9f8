package payments.systems.second_terminal

import data.payments.shared.account
import data.payments.shared.intent
import data.payments.shared.terminal

# A second terminal pays what the first has asked for, neither more nor less nor to
# anybody else.
permit if {
	input.call.operation == "pay_checkout"
	named
	intent.is_open(input.facts.intent)
	input.facts.intent.state == "pushed"
	pushed_here
	first_bound
	second_bound
	still_matched(input.facts.intent)
	shown
	in_time
	input.call.payee == input.facts.intent.payee
	input.call.amount_minor == input.facts.intent.amount_minor
	input.call.currency == input.facts.intent.currency
	is_string(input.call.payee)
	terminals_known
	account.active
	account.currency_matches
	account.amount_valid
	account.within_payment_maximum
	account.within_limits
}

# A checkout of the account that the terminal is bound to.
named if {
	acts
	intent.named
	is_checkout(input.facts.intent)
	input.facts.intent.account == input.facts.account.id
}

pushed_here if {
	input.facts.terminal.id in input.facts.intent.terminals
	not opened_here
}

opened_here if input.facts.terminal.id == input.facts.intent.terminal

# Both terminals are still what they were when it was opened.
first_bound if {
	some first in input.facts.terminals
	first.id == input.facts.intent.terminal
	terminal.acts_for(first, input.facts.account.id)
	terminal.bound_since(first, input.facts.intent.opened_at_ns)
}

second_bound if terminal.bound_since(input.facts.terminal, input.facts.intent.opened_at_ns)

# The token of this very checkout, which its own terminal shows. One that is shown
# without need must be right too.
shown if {
	input.facts.intent.attributes.mode in {"page", "scan"}
	input.evidence.intent_token.matched == true
}

shown if {
	input.facts.intent.attributes.mode == "page"
	not input.evidence.intent_token
}

in_time if input.now_ns <= pays_until_ns

pays_until_ns := intent.came_ns(input.facts.intent, "pushed") + (data.systems.second_terminal.payment_seconds * 1000000000)

on_allow contains account.reserve_from(input.facts.account, input.facts.intent.payee, input.facts.intent) if {
	input.call.operation == "pay_checkout"
}

on_allow contains effect if {
	input.call.operation == "pay_checkout"
	effect := {
		"type": "advance_intent",
		"intent": input.facts.intent.id,
		"from": "pushed",
		"to": "paid",
		"close": true,
	}
}

on_allow contains effect if {
	input.call.operation == "pay_checkout"
	effect := {"type": "notify", "terminal": input.facts.intent.terminal, "kind": "checkout_paid"}
}

# Whoever was pushed to as well, and did not pay.
on_allow contains effect if {
	input.call.operation == "pay_checkout"
	some id in reachable(input.facts.intent.terminals)
	id != input.facts.terminal.id
	effect := {"type": "notify", "terminal": id, "kind": "checkout_closed"}
}

deny contains intent.unknown_reason if {
	input.call.operation == "pay_checkout"
	acts
	not named
}

deny contains intent.why_over(input.facts.intent) if {
	input.call.operation == "pay_checkout"
	named
}

deny contains reason if {
	input.call.operation == "pay_checkout"
	named
	intent.is_open(input.facts.intent)
	some reason in pay_deny
}

pay_deny contains reason if some reason in account.deny

pay_deny contains reason if {
	input.facts.intent.state in awaiting
	reason := {
		"code": "checkout_awaits_gesture",
		"message": "An operation on the terminal is wanted first.",
	}
}

pay_deny contains reason if {
	opened_here
	reason := {
		"code": "checkout_opened_here",
		"message": "The terminal that opened the checkout cannot pay it.",
	}
}

pay_deny contains reason if {
	not opened_here
	not pushed_here
	reason := {
		"code": "checkout_not_pushed",
		"message": "The checkout was not pushed to this terminal.",
	}
}

pay_deny contains unbound_reason if not first_bound

pay_deny contains unbound_reason if not second_bound

unbound_reason := {
	"code": "terminal_unbound",
	"message": "One of the two terminals was unbound, frozen or bound anew since.",
}

pay_deny contains reason if {
	not still_matched(input.facts.intent)
	reason := {
		"code": "terminals_not_paired",
		"message": "The two terminals are not paired any more.",
	}
}

pay_deny contains reason if {
	not shown
	not input.evidence.intent_token
	reason := {
		"code": "scan_required",
		"message": "The code on the screen of the first terminal must be scanned.",
	}
}

pay_deny contains reason if {
	not shown
	input.evidence.intent_token
	reason := {
		"code": "intent_token_invalid",
		"message": "The scanned code is not that of this checkout.",
	}
}

pay_deny contains reason if {
	input.now_ns > pays_until_ns
	reason := {
		"code": "payment_too_late",
		"message": "The time to pay is over.",
	}
}

pay_deny contains reason if {
	input.call.payee != input.facts.intent.payee
	reason := {
		"code": "payee_changed",
		"message": "The request is for another payee.",
	}
}

pay_deny contains intent.amount_changed_reason if input.call.amount_minor != input.facts.intent.amount_minor

pay_deny contains reason if {
	input.call.currency != input.facts.intent.currency
	reason := {
		"code": "currency_changed",
		"message": "The request is in another currency.",
	}
}
