package strictjson

import (
	"bytes"
	"hash/maphash"
	"unicode"
	"unicode/utf8"
)

// hashSeed is fresh in every process, so nobody can prepare names whose hashes collide.
var hashSeed = maphash.MakeSeed()

// nameTable finds members of one object whose names fold alike, in time linear in their
// number: an open-addressing table of node indices, at most half full and reused from object
// to object. 0 marks a free slot, since node 0 is the root and no member.
type nameTable struct {
	small [64]uint32 // enough for most objects, and on the stack
	large []uint32   // grown once an object has more than 32 members
}

// check reports the first member of the object that repeats an earlier one.
func (t *nameTable) check(nodes []node, object int) error {
	if nodes[object].count < 2 {
		return nil
	}
	slots := t.slots(int(nodes[object].count))
	mask := uint32(len(slots) - 1)
	var folded [maxNameBytes]byte
	for at, end := uint32(object)+1, nodes[object].end; at < end; at = nodes[at].end {
		member := &nodes[at]
		member.hash = uint32(maphash.Bytes(hashSeed, appendFolded(folded[:0], member.name)))
		slot := member.hash & mask
		for ; slots[slot] != 0; slot = (slot + 1) & mask {
			earlier := &nodes[slots[slot]]
			if earlier.hash == member.hash && foldAlike(earlier.name, member.name) {
				return fail(CodeDuplicateMember, int(member.nameAt),
					"an object has two members whose names are equal or taken for equal")
			}
		}
		slots[slot] = at
	}
	return nil
}

// slots returns an empty table for so many members.
func (t *nameTable) slots(members int) []uint32 {
	size := 8
	for size < 2*members {
		size *= 2
	}
	table := t.small[:]
	if size > len(table) {
		if size > len(t.large) {
			t.large = make([]uint32, size)
		}
		table = t.large
	}
	table = table[:size]
	clear(table)
	return table
}

// foldAlike says whether a lenient parser may take the two names for equal.
func foldAlike(a, b string) bool {
	if a == b {
		return true
	}
	var bufferA, bufferB [maxNameBytes]byte
	return bytes.Equal(appendFolded(bufferA[:0], a), appendFolded(bufferB[:0], b))
}

// appendFolded appends the form that all names taken for equal share; see the package
// comment. A folded name is never longer than the name.
func appendFolded(folded []byte, name string) []byte {
	leading := true
	for i := 0; i < len(name); i++ {
		c := name[i]
		switch {
		case c == '_' || c == '-':
			if leading {
				folded = append(folded, c)
			}
			continue
		case 'a' <= c && c <= 'z':
			folded = append(folded, c-'a'+'A')
		case c < utf8.RuneSelf:
			folded = append(folded, c)
		default:
			r, size := utf8.DecodeRuneInString(name[i:])
			folded = appendFoldedRune(folded, r)
			i += size - 1
		}
		leading = false
	}
	return folded
}

func appendFoldedRune(folded []byte, r rune) []byte {
	// The characters outside ASCII whose full case folding is two or three ASCII letters
	// (Unicode CaseFolding.txt, status F).
	switch r {
	case 'ß', 'ẞ':
		return append(folded, "SS"...)
	case 'ﬀ':
		return append(folded, "FF"...)
	case 'ﬁ':
		return append(folded, "FI"...)
	case 'ﬂ':
		return append(folded, "FL"...)
	case 'ﬃ':
		return append(folded, "FFI"...)
	case 'ﬄ':
		return append(folded, "FFL"...)
	case 'ﬅ', 'ﬆ':
		return append(folded, "ST"...)
	}
	return utf8.AppendRune(folded, foldRune(r))
}

// foldRune returns the smallest of the characters that case folding or casing makes equal to
// r. Casing comes first: simple folding leaves the dotless ı and the dotted İ alone.
func foldRune(r rune) rune {
	r = unicode.ToLower(unicode.ToUpper(r))
	smallest := r
	for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
		smallest = min(smallest, next)
	}
	return smallest
}
