package policy

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
)

// WriteArchive writes the snapshot as a bundle that stock OPA reads: a gzipped
// tar of its files in the order of their names, without times and owners. The
// same snapshot gives the same bytes.
func (s *Snapshot) WriteArchive(w io.Writer) error {
	zip := gzip.NewWriter(w)
	archive := tar.NewWriter(zip)
	for _, name := range s.names {
		header := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(s.files[name]))}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		if _, err := archive.Write(s.files[name]); err != nil {
			return err
		}
	}
	return errors.Join(archive.Close(), zip.Close())
}

// ReadArchive reads what WriteArchive wrote, within the bounds of a bundle. It
// does not judge the names: compare the digest with the one that was expected.
func ReadArchive(r io.Reader) (*Snapshot, error) {
	zip, err := gzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	archive := tar.NewReader(zip)
	files, total := map[string][]byte{}, 0
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			_, err := io.Copy(io.Discard, zip) // to its checksum
			return &Snapshot{files, slices.Sorted(maps.Keys(files))}, err
		}
		if err != nil {
			return nil, err
		}
		if header.Typeflag != tar.TypeReg || !fs.ValidPath(header.Name) || files[header.Name] != nil {
			return nil, fmt.Errorf("%q is not a file of a bundle", header.Name)
		}
		text, err := io.ReadAll(io.LimitReader(archive, maxBundleFileBytes+1))
		if err != nil {
			return nil, err
		}
		total += len(text)
		if len(text) > maxBundleFileBytes || total > maxBundleBytes || len(files) == maxBundleFiles {
			return nil, errors.New("larger than a bundle can be")
		}
		files[header.Name] = text
	}
}
