# METADATA
# title: Who is told which reason
# description: |
#   A decision has all its reasons for the record. What the caller hears of each
#   depends on the audience that the caller is in, as the caller's system says
#   (`audience`), and stands in one table, data.yaml beside this file: the reason
#   itself for the audiences listed there (`told_to`), a code of its own for some
#   (`told_as`), another one for everybody else (`otherwise`).
#   A reason that the table does not know is told to nobody: the caller hears
#   `refused`.
# schemas:
#   - input: schema.input
#   - data.shared: schema.shared
package payments.shared.reasons

told(reason, audience) := reason if {
	some listed in data.shared.reasons[reason.code].told_to
	listed in {audience, "everybody"}
} else := {"code": code, "message": data.shared.messages[code]} if {
	code := data.shared.reasons[reason.code].told_as[audience]
} else := {"code": code, "message": data.shared.messages[code]} if {
	code := data.shared.reasons[reason.code].otherwise
} else := {
	"code": "refused",
	"message": "The call is refused.",
}
