// Package strictjson is the one JSON parser of the sidecar. It accepts only texts that every
// sane parser reads alike and refuses everything doubtful.
//
// The sidecar approves what it reads in a body; the upstream executes what its own parser
// reads in the same bytes. Wherever the two readings can differ, an attacker gets one payment
// approved and another one executed. So this package never repairs, guesses or picks: a text
// has one meaning, or it is refused with an [Error] that says why without quoting the text,
// because bodies hold secrets.
//
// # What is accepted
//
// The grammar of RFC 8259, exactly: no comments, no trailing commas, no NaN, no single quotes,
// no white space but space, tab, line feed and carriage return, no raw control characters in
// strings. One value of any kind, then the end of the text (RFC 8259 section 2). On top of
// the grammar:
//
//   - Encoding: valid UTF-8 without byte order mark (RFC 8259 section 8.1). Overlong forms,
//     encoded surrogates and values above U+10FFFF are not UTF-8 (RFC 3629 section 3).
//   - Strings: an escaped surrogate needs its partner, and noncharacters such as U+FFFE are
//     refused (RFC 7493 section 2.1): parsers replace, drop or keep them. U+0000 is refused
//     although it may be written \u0000: whoever hands the string on to C cuts it there.
//     U+2028, U+2029, U+FEFF inside a string and U+007F are accepted; only JavaScript before
//     ES2019 and no JSON parser minds them.
//   - Numbers: at most 40 characters and an exponent within ±30, everywhere in the text: a
//     parser with big decimals hangs on 1e9999999 and one with doubles reads infinity. Within
//     the bounds -0, 1.0, 1E5 and integers beyond 2^53 are accepted as numbers, since bodies
//     carry such values where nothing is decided on them. Parsers do not read them alike, so
//     [Value.Int] refuses all four (RFC 7493 section 2.2), and amounts are read with it only.
//   - Names: no two members of an object may have names that are equal, or that some lenient
//     parser takes for equal; see below. A name has at most 256 bytes.
//   - Names again: "__proto__" is refused at any depth, and so is "prototype" in an object
//     named "constructor". JavaScript code that copies such a member sets the prototype, and
//     members absent here appear there. These are the rules of Fastify's secure-json-parse;
//     "constructor" or "prototype" alone are ordinary words and accepted.
//   - Size: bytes, depth and the number of values are bounded by [Limits].
//
// # Names that are taken for equal
//
// RFC 8259 section 4 leaves duplicate names open: the first wins, the last wins, or both are
// kept. RFC 7493 section 2.3 forbids them, and so does this package. Names are compared after
// unescaping ("a" is "\u0061") and after folding, as lenient parsers match names to fields:
//
//   - Unicode simple case folding, as Go's encoding/json does it: s, S and ſ (U+017F) are
//     equal, and so are k, K and the Kelvin sign (U+212A).
//   - Upper and lower casing, as Java's equalsIgnoreCase does it: dotless ı and dotted İ are i.
//   - Casing that makes ASCII letters out of one character, as JavaScript's toUpperCase and
//     Python's casefold do it: ß is ss, and the ligature U+FB01 is fi.
//   - '_' and '-' after the first letter are skipped: protobuf's JSON form takes amount_minor
//     and amountMinor for one field, and encoding/json/v2 can skip both characters. Leading
//     ones count, so _id and id may stand side by side.
//
// Canonically equivalent but different sequences outside ASCII (é in one or two code points)
// are different names here, as in every parser known to us except Swift's. Routes that map
// ASCII names only are not concerned.
//
// Looking up names is exact: a body with Amount has no member amount. A lenient upstream
// still reads it as amount, so whoever treats a missing member as absent must ask
// [Document.CheckSpelling] as well.
//
// Parsing takes time and memory linear in the size of the text.
package strictjson
