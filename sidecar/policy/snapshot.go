package policy

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
)

// A Snapshot is a bundle as it was read once: rules, data, schemas and route
// tables come from the same moment, and nothing of the directory was passed
// over. It is an fs.FS of the files that mean something (neither documentation
// nor Go) and never changes.
type Snapshot struct {
	files map[string][]byte
	names []string // sorted
}

// Bounds of a bundle.
const (
	maxBundleFiles     = 4096
	maxBundleBytes     = 32 << 20
	maxBundleFileBytes = 8 << 20
	maxBundleDepth     = 16
)

// configMapData is the link that Kubernetes makes in a directory where it mounts
// a ConfigMap. It leads to the directory that holds the files, and what users
// see beside it are links through it; an update replaces that one link.
const configMapData = "..data"

// Read reads the bundle in dir. It refuses whatever it would have to pass over:
// a rule in a file that nobody reads denies nothing. The only links it follows
// are those of a mounted ConfigMap.
func Read(dir fs.FS) (*Snapshot, error) {
	if s, ok := dir.(*Snapshot); ok {
		return s, nil
	}
	r := reader{dir: dir, files: map[string][]byte{}}
	if err := r.readDir(".", ".", 0); err != nil {
		return nil, fmt.Errorf("policies: %w", err)
	}
	return &Snapshot{r.files, slices.Sorted(maps.Keys(r.files))}, nil
}

// Digest names the content of the snapshot: "sha256:" and 64 hexadecimal digits
// over every name and content, in the order of names, each with its length
// before it (8 bytes, big-endian).
func (s *Snapshot) Digest() string {
	hash := sha256.New()
	add := func(part []byte) {
		hash.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		hash.Write(part)
	}
	for _, name := range s.names {
		add([]byte(name))
		add(s.files[name])
	}
	return "sha256:" + hex.EncodeToString(hash.Sum(nil))
}

// reader reads one bundle.
type reader struct {
	dir     fs.FS
	files   map[string][]byte
	entries int
	bytes   int
}

// readDir reads the directory at location, which the bundle knows as name.
func (r *reader) readDir(location, name string, depth int) error {
	if depth > maxBundleDepth {
		return fmt.Errorf("%s: more than %d directories deep", name, maxBundleDepth)
	}
	entries, err := fs.ReadDir(r.dir, location)
	if err != nil {
		return err
	}
	isLink := func(e fs.DirEntry) bool { return e.Name() == configMapData && e.Type()&fs.ModeSymlink != 0 }
	if slices.ContainsFunc(entries, isLink) {
		if location, entries, err = r.configMap(location, name, entries); err != nil {
			return err
		}
	}
	for _, entry := range entries {
		if r.entries++; r.entries > maxBundleFiles {
			return fmt.Errorf("more than %d files and directories", maxBundleFiles)
		}
		at, as := path.Join(location, entry.Name()), path.Join(name, entry.Name())
		switch {
		case strings.HasPrefix(entry.Name(), "."):
			err = fmt.Errorf("%s: hidden files are not read: remove it", as)
		case entry.IsDir():
			err = r.readDir(at, as, depth+1)
		case entry.Type().IsRegular():
			err = r.readFile(at, as)
		case entry.Type()&fs.ModeSymlink != 0:
			err = fmt.Errorf("%s: links are followed only where Kubernetes mounts a ConfigMap: put the file itself there", as)
		default:
			err = fmt.Errorf("%s: neither a file nor a directory: remove it", as)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// configMap returns the directory that ..data leads to. It is looked up once, so
// that an update of the ConfigMap does not mix two versions; and nothing may
// stand beside the links through it.
func (r *reader) configMap(location, name string, entries []fs.DirEntry) (string, []fs.DirEntry, error) {
	fail := func(entry string, err error) (string, []fs.DirEntry, error) {
		return "", nil, fmt.Errorf("%s: %w", path.Join(name, entry), err)
	}
	target, err := fs.ReadLink(r.dir, path.Join(location, configMapData))
	if err != nil {
		return fail(configMapData, err)
	}
	if !isHidden(target) {
		return fail(configMapData, errors.New("not the link of a mounted ConfigMap: it does not lead to a directory ..NAME beside it"))
	}
	content := path.Join(location, target)
	if info, err := fs.Lstat(r.dir, content); err != nil || !info.IsDir() {
		return fail(configMapData, cmp.Or(err, errors.New("does not lead to a directory")))
	}
	for _, entry := range entries {
		// An update that goes on leaves an older directory, and a link to rename.
		if name := entry.Name(); name == configMapData || name == configMapData+"_tmp" || entry.IsDir() && isHidden(name) {
			continue
		}
		to, err := fs.ReadLink(r.dir, path.Join(location, entry.Name()))
		if err != nil || path.Clean(to) != path.Join(configMapData, entry.Name()) {
			return fail(entry.Name(), errors.New("stands in the mount of a ConfigMap but does not come from it: put it into the ConfigMap"))
		}
	}
	inner, err := fs.ReadDir(r.dir, content)
	return content, inner, err
}

// isHidden tells whether name is one of those that a ConfigMap's mount keeps to
// itself: it begins with two dots, as no key of a ConfigMap may.
func isHidden(name string) bool {
	return strings.HasPrefix(name, "..") && fs.ValidPath(name) && !strings.Contains(name, "/") && name != configMapData
}

var (
	routesPattern = regexp.MustCompile(`^systems/[a-z][a-z0-9_]{0,63}/routes\.yaml$`)
	schemaPattern = regexp.MustCompile(`^schemas/[a-z][a-z0-9_]{0,63}\.json$`)
)

func (r *reader) readFile(location, name string) error {
	base := path.Base(name)
	switch ext := path.Ext(name); {
	case ext == ".md", ext == ".go":
		return nil // for people, and for the build
	case ext == ".rego", base == "data.json", base == "data.yaml",
		routesPattern.MatchString(name), schemaPattern.MatchString(name):
	default:
		return fmt.Errorf("%s: nobody would read this file: a bundle has NAME.rego, data.json, data.yaml, "+
			"systems/NAME/routes.yaml, schemas/NAME.json and NAME.md, spelt like this: rename or remove it", name)
	}
	file, err := r.dir.Open(location)
	if err != nil {
		return err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxBundleFileBytes+1))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if r.bytes += len(text); len(text) > maxBundleFileBytes || r.bytes > maxBundleBytes {
		return fmt.Errorf("%s: a file of a bundle has at most %d bytes, all of them %d", name, maxBundleFileBytes, maxBundleBytes)
	}
	r.files[name] = text
	return nil
}

// ReadFile is fs.ReadFileFS.
func (s *Snapshot) ReadFile(name string) ([]byte, error) {
	text, ok := s.files[name]
	if !ok {
		return nil, &fs.PathError{Op: "read", Path: name, Err: fs.ErrNotExist}
	}
	return slices.Clone(text), nil
}

// Glob is fs.GlobFS, over files alone.
func (s *Snapshot) Glob(pattern string) ([]string, error) {
	var names []string
	for _, name := range s.names {
		ok, err := path.Match(pattern, name)
		if err != nil {
			return nil, err
		}
		if ok {
			names = append(names, name)
		}
	}
	return names, nil
}

// Open is fs.FS. It opens files alone.
func (s *Snapshot) Open(name string) (fs.File, error) {
	text, ok := s.files[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &snapshotFile{*bytes.NewReader(text), path.Base(name)}, nil
}

type snapshotFile struct {
	bytes.Reader
	name string
}

func (f *snapshotFile) Stat() (fs.FileInfo, error) { return f, nil }
func (f *snapshotFile) Close() error               { return nil }
func (f *snapshotFile) Name() string               { return f.name }
func (f *snapshotFile) Mode() fs.FileMode          { return 0o444 }
func (f *snapshotFile) ModTime() time.Time         { return time.Time{} }
func (f *snapshotFile) IsDir() bool                { return false }
func (f *snapshotFile) Sys() any                   { return nil }
