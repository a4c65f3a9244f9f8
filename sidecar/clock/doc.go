// Package clock tells the time that decisions are made at, or says that it does
// not know it.
//
// # Two witnesses
//
// The wall clock can be set: by NTP, by an operator, by a hypervisor, by a battery
// that died. CLOCK_BOOTTIME cannot: it counts since the kernel started, also while
// the machine sleeps. While a kernel runs, the two go together, and a step of one
// shows against the other. [MaxDifference] (5 minutes) is how far the wall clock
// may be from where the other one says that it should be:
//
//   - Within it, ahead: the wall clock is right, at once. Codes and windows end no
//     later than they should.
//   - Within it, behind: time goes on from where it was, by the monotonic clock, and
//     lets the wall clock catch up by a thousandth. So a correction by NTP, of
//     seconds or of minutes, stops no payment, and opens nothing that was over.
//   - Beyond it, either way: nobody can say what time it is. [Clock.Now] returns a
//     [*JumpError] until the clock is set right or an operator accepts it. Ahead,
//     everything would end at once, and every limit's period begin anew. Behind,
//     what has ended would live again, and not only here: Envoy reads the same
//     clock to tell whether a caller's token has expired.
//
// Where the wall clock should be follows where it is, by a thousandth of the time
// that passes at most. That is twice what NTP may slew (500 ppm), so drift never
// adds up to a jump; and many small steps in one direction do.
//
// # Over a restart
//
// The file `clock` in the store's directory keeps both clocks, the boot they belong
// to, and the newest time that was told. After a restart within the same boot, all
// is as if there had been none. After another boot CLOCK_BOOTTIME says nothing:
// the time must then be at the newest time that was told, or later by at most
// [Config.MaxGap]. Up to [maxRebootBehind] earlier is taken for that newest time:
// more is a clock that lost its time, and is refused until it is set, say by NTP.
//
// Without the file, or with a damaged one, the time of the store's newest record
// stands for the newest time told. A store without records believes the clock.
//
// # Acceptance
//
// [Accept] puts a file into the directory that names the time accepted, and by
// whom. The process that owns the directory finds it ([Clock.Run]), checks that it
// is about the jump at hand, has it recorded, and goes on from the time accepted.
// An acceptance is good for the same boot alone, and only while the clock shows
// what it showed then.
package clock
