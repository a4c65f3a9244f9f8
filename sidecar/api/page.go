package api

// Bounds of a page.
const (
	DefaultPage = 50
	MaxPage     = 200
)

// A PageQuery is in the query of every list.
type PageQuery struct {
	Limit int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"how many at most"`
	After string `query:"after" maxLength:"256" doc:"the next of the page before"`
}

// A Page is a part of a list. Items are at most as many as were asked for, and
// there is more while Next is there.
type Page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty" doc:"to go on: the after of the next page"`
}

type pageOutput[T any] struct{ Body Page[T] }

func newPage[T any](items []T, next string) *pageOutput[T] {
	if items == nil {
		items = []T{} // an empty list, not null
	}
	return &pageOutput[T]{Page[T]{items, next}}
}
