package authzstore

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/fxamacker/cbor/v2"
)

// A stored value: version, nanoseconds of the last write (8 bytes, big endian),
// CBOR.
const valueHeader = 1 + 8

var (
	encoding = must(cbor.CoreDetEncOptions().EncMode())
	decoding = must(cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
	}.DecMode())
)

// A checked noun checks itself whenever it is written and whenever it is read:
// what breaks a rule in the store is damaged, not merely odd.
type checked interface{ check() error }

func encode[T checked](version byte, now int64, noun T) ([]byte, error) {
	if err := noun.check(); err != nil {
		return nil, err
	}
	body, err := encoding.Marshal(noun)
	if err != nil {
		return nil, err
	}
	val := make([]byte, valueHeader, valueHeader+len(body))
	val[0] = version
	binary.BigEndian.PutUint64(val[1:], uint64(now))
	return append(val, body...), nil
}

// decode reads a stored value and the time of its last write.
func decode[T checked](key string, version byte, val []byte) (noun T, writtenNanos int64, err error) {
	if writtenNanos, err = writtenAt(key, val); err != nil {
		return noun, 0, err
	}
	if val[0] != version {
		return noun, 0, fmt.Errorf("%w: %s: version %d, this program knows %d", ErrDamaged, key, val[0], version)
	}
	if err := decoding.Unmarshal(val[valueHeader:], &noun); err != nil {
		return noun, 0, fmt.Errorf("%w: %s: %w", ErrDamaged, key, err)
	}
	if err := noun.check(); err != nil {
		return noun, 0, fmt.Errorf("%w: %s: %v", ErrDamaged, key, err)
	}
	return noun, writtenNanos, nil
}

func writtenAt(key string, val []byte) (int64, error) {
	if len(val) < valueHeader {
		return 0, fmt.Errorf("%w: %s: %d bytes are no value", ErrDamaged, key, len(val))
	}
	return int64(binary.BigEndian.Uint64(val[1:])), nil
}

func get[T checked](r Reader, key string, version byte) (T, bool, error) {
	var none T
	val, ok, err := r.from.Get(key)
	if err != nil || !ok {
		return none, false, err
	}
	noun, _, err := decode[T](key, version, val)
	if err != nil {
		return none, false, err
	}
	return noun, true, nil
}

// getOwn is get for a noun that knows its ID: under the key of another one it is
// damaged.
func getOwn[T checked](r Reader, prefix, id string, version byte, idOf func(T) string) (T, bool, error) {
	noun, ok, err := get[T](r, prefix+id, version)
	if ok && idOf(noun) != id {
		var none T
		return none, false, fmt.Errorf("%w: %s holds the noun %s", ErrDamaged, prefix+id, idOf(noun))
	}
	return noun, ok, err
}

// nouns says how each kind of stored value is read.
var nouns = map[string]func(key string, val []byte) (any, error){
	accountPrefix:     reads[Account](accountVersion),
	reservationPrefix: reads[Reservation](reservationVersion),
	usagePrefix:       reads[Usage](usageVersion),
	usePrefix:         reads[Use](useVersion),
	keyedPrefix:       reads[KeyedCall](keyedVersion),
	attemptsPrefix:    reads[Attempts](attemptsVersion),
	openPrefix:        reads[openMark](openVersion),
	grantPrefix:       reads[Grant](grantVersion),
	delegatesPrefix:   reads[Delegates](delegatesVersion),
	grantedPrefix:     reads[indexMark](indexVersion),
	delegatedPrefix:   reads[indexMark](indexVersion),
	credentialPrefix:  reads[Credential](credentialVersion),
	merchantPrefix:    reads[Merchant](merchantVersion),
	merchantOfPrefix:  reads[MerchantIdentity](merchantOfVersion),
	terminalPrefix:    reads[Terminal](terminalVersion),
	terminalOfPrefix:  reads[indexMark](indexVersion),
	apiTokenPrefix:    reads[APIToken](apiTokenVersion),

	accountTerminalsPrefix: reads[AccountTerminals](accountTerminalsVersion),
	terminalAsPrefix:       reads[TerminalIdentity](terminalAsVersion),
	challengePrefix:        reads[Challenge](challengeVersion),
	initiatorPrefix:        reads[Initiator](initiatorVersion),
	verificationPrefix:     reads[Verification](verificationVersion),
	storedCodesPrefix:      reads[StoredCodes](storedCodesVersion),
	intentPrefix:           reads[Intent](intentVersion),
	openIntentsPrefix:      reads[OpenIntents](openIntentsVersion),
	mailboxPrefix:          reads[Mailbox](mailboxVersion),
	deliveryPrefix:         reads[Delivery](deliveryVersion),
}

func reads[T checked](version byte) func(string, []byte) (any, error) {
	return func(key string, val []byte) (any, error) {
		noun, _, err := decode[T](key, version, val)
		return noun, err
	}
}

// Kinds returns the names of all kinds of stored nouns, sorted.
func Kinds() []string {
	var kinds []string
	for prefix := range nouns {
		kinds = append(kinds, strings.TrimSuffix(prefix, "/"))
	}
	slices.Sort(kinds)
	return kinds
}

// Noun reads any stored value, such as a record's [Change] holds, as the type
// that its key says.
func Noun(key string, val []byte) (any, error) {
	kind, _, _ := strings.Cut(key, "/")
	read, known := nouns[kind+"/"]
	if !known {
		return nil, fmt.Errorf("%w: %s: a kind of noun that this program does not know", ErrDamaged, key)
	}
	return read(key, val)
}

// orElse is for "could not look, or found what must not be there".
func orElse(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

// must is for values that only a programming error makes fail.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
