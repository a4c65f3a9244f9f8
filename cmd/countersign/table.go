package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/countersign/countersign/authzstore"
)

// A table prints lines of columns that are parted by tabs.
type table struct {
	to    *tabwriter.Writer
	begun bool
}

func newTable(w io.Writer) *table { return &table{to: tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)} }

// line prints a line, after the head if it is the first one. What others chose the
// text of cannot take over the terminal.
func (t *table) line(head, line string) {
	if !t.begun && head != "" {
		fmt.Fprintln(t.to, head)
	}
	t.begun = true
	fmt.Fprintln(t.to, line)
}

func (t *table) flush() error { return t.to.Flush() }

// row joins columns, each of one line.
func row(columns ...any) string {
	text := ""
	for i, c := range columns {
		if i > 0 {
			text += "\t"
		}
		text += oneLine(fmt.Sprint(c))
	}
	return text
}

// atTime is a time in nanoseconds for people; nothing where there is none.
func atTime(nanos int64) string {
	if nanos == 0 {
		return "-"
	}
	return time.Unix(0, nanos).UTC().Format(time.RFC3339)
}

// who is an identity for people.
func who(id authzstore.Identity) string {
	text := id.Kind + " " + id.Subject + " of " + id.Issuer
	if id.OnBehalfOf != "" {
		text += " for " + id.OnBehalfOf
	}
	return text
}

// oneLine is a text that others chose, fit for one line of a terminal.
func oneLine(text string) string {
	return strings.ReplaceAll(printable(text), "\n", string(unicode.ReplacementChar))
}
