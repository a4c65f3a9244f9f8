package strictjson

import "strings"

// accepted are texts with one meaning. Fuzzing and the comparison with Python start here too.
var accepted = []string{
	// Every kind of value as the whole text, with white space around it.
	`null`, `true`, `false`, `0`, `""`, `{}`, `[]`, ` null `, "\t\n\r {}\r\n\t ", `[ ]`, `{ }`,
	"\n\"x\"\n", "[\t]", "{\r\n}",
	// Numbers.
	`-0`, `1`, `-1`, `10`, `123456789`, `1.0`, `1.5`, `-1.5`, `0.0`, `0.1`, `-0.0`, `100.001`,
	`1E5`, `1e5`, `1e+5`, `1e-5`, `1E+05`, `1e00`, `0e0`, `0e-0`, `-0e+0`, `1e30`, `1e-30`,
	`1e+30`, `1.5e030`, `1e0000000000000005`, `1e-0000000000000030`, `0E00000000000000000000000000`,
	`9007199254740991`, `-9007199254740991`, `9007199254740992`, `9007199254740993`,
	`9223372036854775807`, `9223372036854775808`, `18446744073709551616`,
	`1234567890123456789012345678901234567890`, `-123456789012345678901234567890123456789`,
	`0.12345678901234567890123456789012345678`, `1.7976931348623157e30`, `[0]`, `[-0]`,
	`[1,2.5,-3e2]`, `{"a":1e5}`, `0.1e1`,
	// Strings.
	`"a"`, `" "`, `"\""`, `"\\"`, `"\/"`, `"/"`, `"\b\f\n\r\t"`, `"\u0001"`, `"\u001f"`, `"\u0020"`,
	`"\u0041"`, `"\u00e9"`, `"\u00E9"`, `"é"`, `"日本語"`, `"😀"`, `"\ud83d\ude00"`, `"\uD83D\uDE00"`,
	`"\uDBFF\uDFFD"`, `"\ud800\udc00"`, `"a\u0062c"`, `"\\u0041"`, `"\\\\"`, `"\\\""`, `"'"`,
	"\"\u2028\u2029\"", `"\u2028"`, "\"\x7f\"", "\"\u0080\u009f\"", "\"\ufeff\"", `"\ufeff"`,
	"\"\ufffd\"", `"\ufffd"`, "\"\U0010fffd\"", "\"\ue000\uf8ff\"", `"\ufdcf\ufdf0"`,
	`"// no comment"`, `"/* no comment */"`, `"[1,2"`, `"{\"a\":1}"`, `"NaN"`, `"true"`, `"1"`,
	`"\u005c\u0022"`, `"tab\tnew\nline"`, "\"\u0301\u0300\"", `"\u200b"`, `"trailing space "`,
	// Arrays.
	`[null]`, `[1]`, `[1,2]`, `[ 1 , 2 ]`, `[[]]`, `[[],[]]`, `[[1],[2,[3]]]`, `[{}]`, `[{},{}]`,
	`["a","b"]`, `[true,false,null]`, `[1,"1",1.0]`, "[1\n,\t2]", `[{"a":1},{"a":1}]`,
	// Objects.
	`{"a":1}`, `{"a":1,"b":2}`, `{ "a" : 1 , "b" : 2 }`, `{"a":{}}`, `{"a":[]}`, `{"a":{"a":{"a":1}}}`,
	`{"":1}`, `{"":{"":1}}`, `{" ":1,"  ":2}`, `{"a":null}`, `{"\u0061":1}`, `{"a":1,"\u0062":2}`,
	`{"a/b":1,"a~b":2}`, `{"0":1,"1":2,"00":3}`, `{"é":1,"è":2}`, `{"a":"a","b":"a"}`,
	`{"id":1,"_id":2,"__id":3,"-id":4}`, `{"_":1,"__":2,"-":3,"":4}`, `{"s":1,"ss":2,"sss":3}`,
	`{"constructor":1}`, `{"constructor":{}}`, `{"constructor":{"name":"x"}}`, `{"prototype":{}}`,
	`{"prototype":{"constructor":{}}}`, `{"constructor":{"a":{"prototype":1}}}`, `{"__proto":1}`,
	`{"proto":1}`, `{"__PROTO__":1}`, `{"toString":1,"hasOwnProperty":2,"valueOf":3}`,
	`["__proto__","constructor","prototype"]`, `{"a":"__proto__"}`, `{"é":1,"e\u0301":2}`,
	`{"a":{"x":1},"b":{"x":1}}`, `{"name.with.dots":1,"name":{"with":{"dots":2}}}`,
	`{"amount":12345,"currency":"EUR","payee":{"iban":"DE02120300000000202051","name":"Jörg"}}`,
	paymentBody,
	// Just within the bounds.
	strings.Repeat("[", 16) + strings.Repeat("]", 16),
	strings.Repeat(`{"a":`, 16) + `1` + strings.Repeat("}", 16),
	strings.Repeat(`[{"a":`, 8) + `1` + strings.Repeat("}]", 8),
	`[` + strings.Repeat("0,", 4094) + `0]`,
	`{"` + strings.Repeat("n", 256) + `":1}`,
	`{"` + strings.Repeat("é", 128) + `":1}`,
	`{"` + strings.Repeat(`\u0061`, 256) + `":1}`,
	`"` + strings.Repeat("x", 64<<10-2) + `"`,
	strings.Repeat(" ", 64<<10-1) + `1`,
}

// refusal is a text, the rule it breaks and the offset of the place that breaks it.
type refusal struct {
	text   string
	code   Code
	offset int
}

var refused = []refusal{
	// Nothing.
	{"", CodeEmpty, 0}, {" ", CodeEmpty, 1}, {"\r\n\t ", CodeEmpty, 4},

	// Encoding.
	{"\ufeff{}", CodeByteOrderMark, 0}, {"\ufeff", CodeByteOrderMark, 0},
	{"\xff\xfe{\x00}\x00", CodeNotUTF8, 0}, {"\xfe\xff\x00{\x00}", CodeNotUTF8, 0},
	{"{\x00}\x00", CodeSyntax, 1}, {"\x00{\x00}", CodeSyntax, 0}, {"1\x00\x00\x00", CodeTrailingData, 1},
	{"\"\xff\"", CodeNotUTF8, 1}, {"\"\x80\"", CodeNotUTF8, 1}, {"\"a\xc3\"", CodeNotUTF8, 2},
	{"\"\xc3\x28\"", CodeNotUTF8, 1}, {"\"\xe2\x82\"", CodeNotUTF8, 1}, {"\"\xf0\x9f\x98\"", CodeNotUTF8, 1},
	{"\"\xc0\xaf\"", CodeNotUTF8, 1}, {"\"\xc0\x80\"", CodeNotUTF8, 1}, {"\"\xe0\x80\xaf\"", CodeNotUTF8, 1},
	{"\"\xf0\x80\x80\xaf\"", CodeNotUTF8, 1}, {"\"\xc1\xbf\"", CodeNotUTF8, 1},
	{"\"\xed\xa0\x80\"", CodeNotUTF8, 1}, {"\"\xed\xbf\xbf\"", CodeNotUTF8, 1},
	{"\"\xed\xa0\xbd\xed\xb8\x80\"", CodeNotUTF8, 1}, {"\"\xf4\x90\x80\x80\"", CodeNotUTF8, 1},
	{"\"\xf8\x88\x80\x80\x80\"", CodeNotUTF8, 1}, {"\"\xe9\"", CodeNotUTF8, 1}, {"{\"\xff\":1}", CodeNotUTF8, 2},
	{"{}\xff", CodeNotUTF8, 2}, {"[1,\xa02]", CodeNotUTF8, 3},

	// White space and other things that are none.
	{"\u00a01", CodeSyntax, 0}, {"[\v1]", CodeSyntax, 1}, {"[\f1]", CodeSyntax, 1}, {"[\u2028]", CodeSyntax, 1},
	{"[1,\ufeff2]", CodeSyntax, 3}, {"1\u00a0", CodeTrailingData, 1}, {"1\v", CodeTrailingData, 1},
	{"[\u200b]", CodeSyntax, 1}, {"// c\n1", CodeSyntax, 0}, {"/* c */1", CodeSyntax, 0}, {"# c\n1", CodeSyntax, 0},
	{"[1/* c */]", CodeSyntax, 2}, {"{\"a\":1}// c", CodeTrailingData, 7}, {"[1]# c", CodeTrailingData, 3},
	{"{\"a\"/**/:1}", CodeSyntax, 4},

	// Literals.
	{"nul", CodeSyntax, 0}, {"nulll", CodeTrailingData, 4}, {"Null", CodeSyntax, 0}, {"NULL", CodeSyntax, 0},
	{"True", CodeSyntax, 0}, {"TRUE", CodeSyntax, 0}, {"tru", CodeSyntax, 0}, {"truefalse", CodeTrailingData, 4},
	{"False", CodeSyntax, 0}, {"fals", CodeSyntax, 0}, {"None", CodeSyntax, 0}, {"undefined", CodeSyntax, 0},
	{"NaN", CodeSyntax, 0}, {"nan", CodeSyntax, 0}, {"Infinity", CodeSyntax, 0}, {"-Infinity", CodeSyntax, 1},
	{"[NaN]", CodeSyntax, 1}, {"[-NaN]", CodeSyntax, 2}, {"a", CodeSyntax, 0}, {"[a]", CodeSyntax, 1},
	{"[truex]", CodeSyntax, 5}, {"[nul]", CodeSyntax, 1}, {"yes", CodeSyntax, 0}, {"()", CodeSyntax, 0},

	// Numbers outside the grammar.
	{"-", CodeSyntax, 1}, {"+1", CodeSyntax, 0}, {"--1", CodeSyntax, 1}, {"-+1", CodeSyntax, 1}, {"- 1", CodeSyntax, 1},
	{"00", CodeSyntax, 1}, {"01", CodeSyntax, 1}, {"-01", CodeSyntax, 2}, {"-00", CodeSyntax, 2}, {"00.1", CodeSyntax, 1},
	{".1", CodeSyntax, 0}, {"-.1", CodeSyntax, 1}, {"1.", CodeSyntax, 2}, {"0.", CodeSyntax, 2}, {"[1.]", CodeSyntax, 3},
	{"1.e5", CodeSyntax, 2}, {"1e", CodeSyntax, 2}, {"1E", CodeSyntax, 2}, {"1e+", CodeSyntax, 3}, {"1e-", CodeSyntax, 3},
	{"1e+-1", CodeSyntax, 3}, {"1e1.5", CodeTrailingData, 3}, {"1.2.3", CodeTrailingData, 3}, {"1e2e3", CodeTrailingData, 3},
	{"0x1F", CodeTrailingData, 1}, {"0b1", CodeTrailingData, 1}, {"0o7", CodeTrailingData, 1}, {"[0x1]", CodeSyntax, 2},
	{"1_000", CodeTrailingData, 1}, {"[1_0]", CodeSyntax, 2}, {"[1 000]", CodeSyntax, 3}, {"1,5", CodeTrailingData, 1},
	{"[1n]", CodeSyntax, 2}, {"1f", CodeTrailingData, 1}, {"1L", CodeTrailingData, 1}, {"[1 2]", CodeSyntax, 3},
	{"١", CodeSyntax, 0}, {"[１]", CodeSyntax, 1}, {"−1", CodeSyntax, 0}, {"[1-2]", CodeSyntax, 2}, {"[e5]", CodeSyntax, 1},

	// Numbers outside the bounds, anywhere.
	{"1e31", CodeNumberOutOfRange, 0}, {"1e-31", CodeNumberOutOfRange, 0}, {"1e+31", CodeNumberOutOfRange, 0},
	{"0e31", CodeNumberOutOfRange, 0}, {"1e9999999", CodeNumberOutOfRange, 0}, {"1E400", CodeNumberOutOfRange, 0},
	{"1e-9999999999999999999999999", CodeNumberOutOfRange, 0}, {"1e00000000000031", CodeNumberOutOfRange, 0},
	{"1e4294967296", CodeNumberOutOfRange, 0}, {"1e18446744073709551616", CodeNumberOutOfRange, 0},
	{strings.Repeat("1", 41), CodeNumberOutOfRange, 0}, {"-" + strings.Repeat("1", 40), CodeNumberOutOfRange, 0},
	{"0." + strings.Repeat("1", 39), CodeNumberOutOfRange, 0}, {"1e" + strings.Repeat("0", 39), CodeNumberOutOfRange, 0},
	{"[1,1e31]", CodeNumberOutOfRange, 3}, {`{"a":{"b":[1e31]}}`, CodeNumberOutOfRange, 11},
	{`{"unread":1e99}`, CodeNumberOutOfRange, 10}, {strings.Repeat("9", 5000), CodeNumberOutOfRange, 0},

	// Strings.
	{`"`, CodeSyntax, 1}, {`"a`, CodeSyntax, 2}, {`"\`, CodeSyntax, 2}, {`"\"`, CodeSyntax, 3}, {`'a'`, CodeSyntax, 0},
	{"`a`", CodeSyntax, 0}, {"“a”", CodeSyntax, 0}, {`"a""b"`, CodeTrailingData, 3}, {`["a" "b"]`, CodeSyntax, 5},
	{`"\a"`, CodeSyntax, 2}, {`"\v"`, CodeSyntax, 2}, {`"\0"`, CodeSyntax, 2}, {`"\x41"`, CodeSyntax, 2}, {`"\'"`, CodeSyntax, 2},
	{`"\ "`, CodeSyntax, 2}, {"\"\\\n\"", CodeSyntax, 2}, {`"\U0041"`, CodeSyntax, 2}, {`"\N"`, CodeSyntax, 2}, {`"\é"`, CodeSyntax, 2},
	{`"\u"`, CodeSyntax, 3}, {`"\u0"`, CodeSyntax, 4}, {`"\u00"`, CodeSyntax, 5}, {`"\u004"`, CodeSyntax, 6}, {`"\u004`, CodeSyntax, 6},
	{`"\u00g0"`, CodeSyntax, 5}, {`"\u00G0"`, CodeSyntax, 5}, {`"\u00/0"`, CodeSyntax, 5}, {`"\u00:0"`, CodeSyntax, 5},
	{`"\u00@0"`, CodeSyntax, 5}, {"\"\\u00`0\"", CodeSyntax, 5}, {`"\u{41}"`, CodeSyntax, 3}, {`"\u+041"`, CodeSyntax, 3}, {`"\u 041"`, CodeSyntax, 3},
	{`"a\u12`, CodeSyntax, 6}, {`"\u00٤١"`, CodeSyntax, 5},
	{"\"\x00\"", CodeSyntax, 1}, {"\"a\nb\"", CodeSyntax, 2}, {"\"\r\"", CodeSyntax, 1}, {"\"\t\"", CodeSyntax, 1},
	{"\"\x1f\"", CodeSyntax, 1}, {"\"\\n\n\"", CodeSyntax, 3}, {"{\"a\n\":1}", CodeSyntax, 3}, {"\"\x08\"", CodeSyntax, 1},

	// Surrogates.
	{`"\ud800"`, CodeLoneSurrogate, 1}, {`"\udfff"`, CodeLoneSurrogate, 1}, {`"\uDC00\uD800"`, CodeLoneSurrogate, 1},
	{`"\ud800\ud800"`, CodeLoneSurrogate, 1}, {`"\ud800x"`, CodeLoneSurrogate, 1}, {`"\ud800\n"`, CodeLoneSurrogate, 1},
	{`"\ud800\u0041"`, CodeLoneSurrogate, 1}, {`"\ud83d\ude00\ud83d"`, CodeLoneSurrogate, 13}, {`"\ud800\u"`, CodeSyntax, 9},
	{`"\ud800\`, CodeLoneSurrogate, 1}, {`"\ud800`, CodeLoneSurrogate, 1}, {`{"\ud800":1}`, CodeLoneSurrogate, 2},
	{`["ok","\udead"]`, CodeLoneSurrogate, 7}, {`"\ud83d\\ude00"`, CodeLoneSurrogate, 1},

	// Characters that parsers cut at, drop or replace.
	{`"\u0000"`, CodeForbiddenRune, 1}, {`"EUR\u0000USD"`, CodeForbiddenRune, 4}, {`{"amount\u0000":1}`, CodeForbiddenRune, 8},
	{"\"\ufffe\"", CodeForbiddenRune, 1}, {"\"\uffff\"", CodeForbiddenRune, 1}, {`"\uffff"`, CodeForbiddenRune, 1}, {`"\uFFFE"`, CodeForbiddenRune, 1},
	{"\"a\ufdd0\"", CodeForbiddenRune, 2}, {`"\ufdef"`, CodeForbiddenRune, 1}, {"\"\U0001fffe\"", CodeForbiddenRune, 1},
	{"\"\U0010ffff\"", CodeForbiddenRune, 1}, {`"\udbff\udfff"`, CodeForbiddenRune, 1}, {"\"\\n\uffff\"", CodeForbiddenRune, 3},

	// Arrays.
	{`[`, CodeSyntax, 1}, {`]`, CodeSyntax, 0}, {`[1`, CodeSyntax, 2}, {`[1,`, CodeSyntax, 3}, {`[1,]`, CodeSyntax, 3},
	{`[,]`, CodeSyntax, 1}, {`[,1]`, CodeSyntax, 1}, {`[1,,2]`, CodeSyntax, 3}, {`[1}`, CodeSyntax, 2}, {`[1:2]`, CodeSyntax, 2},
	{`["a":1]`, CodeSyntax, 4}, {`[1;2]`, CodeSyntax, 2}, {`[[]`, CodeSyntax, 3}, {`[]]`, CodeTrailingData, 2}, {`[1]]`, CodeTrailingData, 3},
	{`[}`, CodeSyntax, 1}, {`[...]`, CodeSyntax, 1}, {`[1,2}`, CodeSyntax, 4},

	// Objects.
	{`{`, CodeSyntax, 1}, {`}`, CodeSyntax, 0}, {`{"a"`, CodeSyntax, 4}, {`{"a":`, CodeSyntax, 5}, {`{"a":1`, CodeSyntax, 6},
	{`{"a":1,`, CodeSyntax, 7}, {`{"a":1,}`, CodeSyntax, 7}, {`{,}`, CodeSyntax, 1}, {`{,"a":1}`, CodeSyntax, 1}, {`{"a":1,,"b":2}`, CodeSyntax, 7},
	{`{"a"}`, CodeSyntax, 4}, {`{"a":}`, CodeSyntax, 5}, {`{:1}`, CodeSyntax, 1}, {`{a:1}`, CodeSyntax, 1}, {`{'a':1}`, CodeSyntax, 1},
	{`{1:1}`, CodeSyntax, 1}, {`{null:1}`, CodeSyntax, 1}, {`{"a",1}`, CodeSyntax, 4}, {`{"a"=1}`, CodeSyntax, 4}, {`{"a"::1}`, CodeSyntax, 5},
	{`{"a" "b"}`, CodeSyntax, 5}, {`{"a":1 "b":2}`, CodeSyntax, 7}, {`{"a":1;"b":2}`, CodeSyntax, 6}, {`{"a":1]`, CodeSyntax, 6},
	{`{"a":1}}`, CodeTrailingData, 7}, {`{{}}`, CodeSyntax, 1}, {`{[]:1}`, CodeSyntax, 1}, {`{]`, CodeSyntax, 1}, {`{"a":1:2}`, CodeSyntax, 6},

	// Trailing data.
	{`{}{}`, CodeTrailingData, 2}, {`{} {}`, CodeTrailingData, 3}, {"{}\n{}", CodeTrailingData, 3}, {`1 2`, CodeTrailingData, 2},
	{`{},`, CodeTrailingData, 2}, {`null,`, CodeTrailingData, 4}, {"{}\x00", CodeTrailingData, 2}, {`{}x`, CodeTrailingData, 2}, {`""""`, CodeTrailingData, 2},
	{"[]\x1e", CodeTrailingData, 2}, {"\x1e[]", CodeSyntax, 0}, {`)]}',{}`, CodeSyntax, 0}, {`{};`, CodeTrailingData, 2},

	// Duplicate members.
	{`{"a":1,"a":1}`, CodeDuplicateMember, 7}, {`{"a":1,"a":2}`, CodeDuplicateMember, 7}, {`{"a":1,"\u0061":2}`, CodeDuplicateMember, 7},
	{`{"\u0061":1,"a":2}`, CodeDuplicateMember, 12}, {`{"a":1,"A":2}`, CodeDuplicateMember, 7}, {`{"amount":1,"Amount":2}`, CodeDuplicateMember, 12},
	{`{"amount":1,"AMOUNT":2}`, CodeDuplicateMember, 12}, {`{"":1,"":2}`, CodeDuplicateMember, 6}, {`{"a":1,"b":2,"c":3,"a":4}`, CodeDuplicateMember, 19},
	{`{"s":1,"ſ":2}`, CodeDuplicateMember, 7}, {`{"currency":1,"sum":2,"ſum":3}`, CodeDuplicateMember, 22}, {`{"k":1,"\u212a":2}`, CodeDuplicateMember, 7},
	{`{"id":1,"ıd":2}`, CodeDuplicateMember, 8}, {`{"id":1,"İD":2}`, CodeDuplicateMember, 8}, {`{"é":1,"É":2}`, CodeDuplicateMember, 8},
	{`{"σ":1,"ς":2}`, CodeDuplicateMember, 8}, {`{"Σ":1,"ς":2}`, CodeDuplicateMember, 8}, {`{"ß":1,"ẞ":2}`, CodeDuplicateMember, 8},
	{`{"ß":1,"ss":2}`, CodeDuplicateMember, 8}, {`{"file":1,"ﬁle":2}`, CodeDuplicateMember, 10}, {`{"ǆ":1,"ǅ":2}`, CodeDuplicateMember, 8},
	{`{"Ω":1,"Ω":2}`, CodeDuplicateMember, 8}, {`{"å":1,"Å":2}`, CodeDuplicateMember, 8}, {`{"µ":1,"μ":2}`, CodeDuplicateMember, 8},
	{`{"amount_minor":1,"amountMinor":2}`, CodeDuplicateMember, 18}, {`{"amount-minor":1,"amount_minor":2}`, CodeDuplicateMember, 18}, {`{"a_":1,"a":2}`, CodeDuplicateMember, 8},
	{`{"_id":1,"_ID":2}`, CodeDuplicateMember, 9}, {`[{"a":1,"a":2}]`, CodeDuplicateMember, 8}, {`{"x":{"y":[{"a":1,"a":2}]}}`, CodeDuplicateMember, 18},
	{`{"a":{"b":1},"c":[1,2],"a":3}`, CodeDuplicateMember, 23}, {`{"a":{"a":1,"A":1}}`, CodeDuplicateMember, 12},

	// Members that change prototypes.
	{`{"__proto__":1}`, CodeForbiddenMember, 1}, {`{"a":1,"__proto__":{}}`, CodeForbiddenMember, 7}, {`{"\u005f_proto__":{}}`, CodeForbiddenMember, 1},
	{`[{"a":{"__proto__":null}}]`, CodeForbiddenMember, 7}, {`{"constructor":{"prototype":{}}}`, CodeForbiddenMember, 16},
	{`{"constructor":{"a":1,"proto\u0074ype":1}}`, CodeForbiddenMember, 22}, {`{"x":[{"constructor":{"prototype":1}}]}`, CodeForbiddenMember, 22},

	// Bounds.
	{strings.Repeat("[", 17) + strings.Repeat("]", 17), CodeTooDeep, 16}, {strings.Repeat("[", 60000), CodeTooDeep, 16},
	{strings.Repeat(`{"a":`, 17) + `1` + strings.Repeat("}", 17), CodeTooDeep, 80}, {strings.Repeat(`{"a":`, 13000), CodeTooDeep, 80},
	{`[` + strings.Repeat("0,", 4095) + `0]`, CodeTooManyValues, 8191}, {strings.Repeat(" ", 64<<10) + `1`, CodeTooBig, 64 << 10},
	{`"` + strings.Repeat("x", 64<<10-1) + `"`, CodeTooBig, 64 << 10}, {"\xff" + strings.Repeat(" ", 64<<10), CodeTooBig, 64 << 10},
	{`{"` + strings.Repeat("n", 257) + `":1}`, CodeNameTooLong, 1}, {`{"` + strings.Repeat("é", 128) + `n":1}`, CodeNameTooLong, 1},
	{`{"a":{"` + strings.Repeat(`\u0061`, 257) + `":1}}`, CodeNameTooLong, 6},
}

// paymentBody is a typical request, 368 bytes long.
const paymentBody = `{"amount_minor":129900,"currency":"EUR","grant":"gr_01J9ZK3V8Q6M7T2X4C5B","payee":{` +
	`"account":"DE02120300000000202051","name":"Stadtwerke Musterstadt","country":"DE"},` +
	`"terminal":"t_8f3a2b1c","idempotency_key":"5b0f1c9e-3c1d-4f7e-9a55-0d6f2f7c1a10",` +
	`"reference":"Invoice 2024-0042","capture":true,"metadata":{"order":"100042","items":[1,2,3],"tip":null},` +
	`"channel":"card"}`
