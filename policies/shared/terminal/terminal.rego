# METADATA
# title: Rules on terminals
# description: |
#   A terminal is a device that is bound to an account. Binding one is the real
#   take-over, so when it was bound is looked at: a system's data may want it to have
#   been bound for a while (`cooled`), and one that was bound again since something
#   was asked of it is another one (`bound_since`). The functions take a terminal of
#   input.facts.terminal or input.facts.terminals.
# schemas:
#   - input: schema.input
package payments.shared.terminal

import data.payments.shared.caller

# METADATA
# title: Whether a terminal acts for an account now
# description: A frozen one does not, and nor does one of another account.
acts_for(terminal, account) if {
	is_string(account)
	is_string(terminal.id)
	terminal.account == account
	terminal.state == "bound"
	is_number(terminal.bound_at_ns)
	terminal.bound_at_ns <= input.now_ns
}

# METADATA
# title: Whether the call comes from a terminal itself
sent(terminal) if {
	is_string(terminal.id)
	terminal.state == "bound"
	caller.is(terminal.identity)
}

has_right(terminal, right) if right in terminal.rights

# METADATA
# title: Whether a terminal has been bound for so many seconds
# description: A time that must pass has passed at its last instant.
cooled(terminal, seconds) if {
	is_number(seconds)
	input.now_ns >= terminal.bound_at_ns + (seconds * 1000000000)
}

# METADATA
# title: Whether a terminal is still the one that it was at an instant
bound_since(terminal, at_ns) if {
	is_number(at_ns)
	is_number(terminal.bound_at_ns)
	terminal.bound_at_ns <= at_ns
}

# METADATA
# title: Whether all of these terminals say what rules compare of them
# description: Nobody is left out of what is compared because something is not said of it.
all_known(terminals) if {
	is_array(terminals)
	every known in terminals {
		is_string(known.id)
		is_string(known.account)
		is_string(known.state)
		is_number(known.bound_at_ns)
	}
}

right_missing_reason := {
	"code": "terminal_right_missing",
	"message": "The terminal has no right to do this.",
}

unknown_reason := {
	"code": "terminal_unknown",
	"message": "The caller is no terminal here, or is not bound.",
}
