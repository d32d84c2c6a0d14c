package publish

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/edition-push/edition"
)

const keyFileHead = `# The keys that endpoints are sealed with. Whoever has them can make endpoints:
# keep this file secret, and keep a copy, for without it every endpoint is void.
#
# To rotate, add an entry on top with an id that was never used and a key from
#     openssl rand -base64 32
# and send the server SIGHUP, or restart it. The first entry seals new endpoints, every entry opens old ones.
# A device that registers again gets its endpoint under the new key; the old
# endpoint works until its entry is removed.
`

// keyEntry is one element of the file's list.
type keyEntry struct {
	ID  uint16 `yaml:"id"`  // 1 to 65535
	Key string `yaml:"key"` // 32 bytes in base64
}

// LoadKeyring reads the key ring file, a YAML list of {id, key}. When there is
// none it makes one with a random key, for its owner alone (0600), synced to
// disk; the directory must exist. A file that others may read, or its group
// may write, and one with any fault is edition.ErrConfig; all faults are told
// at once.
func LoadKeyring(path string) (*Keyring, error) {
	b, err := readKeyFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = makeKeyFile(path); err == nil {
			b, err = readKeyFile(path)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w: endpoint keys: %w", edition.ErrConfig, err)
	}
	keys, err := parseKeys(b)
	if err != nil {
		return nil, fmt.Errorf("%w: endpoint keys in %s: %w", edition.ErrConfig, path, err)
	}
	k := &Keyring{path: path}
	k.keys.Store(&keys)
	return k, nil
}

// Reload reads the ring's file again, as strictly as at first, except that one
// that is not there is a fault too. Nothing changes until use is called, which
// is nil when the file says what is in use already.
func (k *Keyring) Reload() (use func(), err error) {
	b, err := readKeyFile(k.path)
	if err != nil {
		return nil, fmt.Errorf("%w: endpoint keys: %w", edition.ErrConfig, err)
	}
	keys, err := parseKeys(b)
	if err != nil {
		return nil, fmt.Errorf("%w: endpoint keys in %s: %w", edition.ErrConfig, k.path, err)
	}
	if slices.EqualFunc(keys, *k.keys.Load(), func(a, b *ringKey) bool { return a.id == b.id && bytes.Equal(a.nonce, b.nonce) }) {
		return nil, nil
	}
	return func() { k.keys.Store(&keys) }, nil
}

// The group may read: that is how containers get their secrets.
const forbiddenMode = 0o027

func readKeyFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if mode := st.Mode().Perm(); mode&forbiddenMode != 0 && runtime.GOOS != "windows" {
		return nil, fmt.Errorf("%s is open to others (mode %04o): chmod 600 it", path, mode)
	}
	return io.ReadAll(io.LimitReader(f, 1<<20))
}

// makeKeyFile writes a ring with one key so that the file is there either
// whole or not at all, and never replaces one that appeared meanwhile.
func makeKeyFile(path string) (err error) {
	var key [KeySize]byte
	rand.Read(key[:])
	f, err := os.CreateTemp(filepath.Dir(path), ".endpoint-keys-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(f.Name())) }()
	_, err = fmt.Fprintf(f, "%s- id: 1\n  key: %s\n", keyFileHead, base64.StdEncoding.EncodeToString(key[:]))
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func parseKeys(b []byte) (keys []*ringKey, _ error) {
	var entries []keyEntry
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	if err := d.Decode(&entries); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if len(entries) == 0 {
		return nil, errors.New("there is no key; remove the file to have one made")
	}
	ids, secrets := map[uint16]int{}, map[string]int{}
	var faults []error
	fault := func(i int, format string, args ...any) {
		faults = append(faults, fmt.Errorf("[%d]: "+format, append([]any{i}, args...)...))
	}
	for i, e := range entries {
		secret, err := decodeKey(e.Key)
		switch first, twice := secrets[string(secret)]; {
		case err != nil:
			fault(i, "key: %w", err)
		case twice:
			fault(i, "key: the same as [%d]", first)
		default:
			secrets[string(secret)] = i
		}
		switch first, twice := ids[e.ID]; {
		case e.ID == 0:
			fault(i, "id: must be 1 to 65535")
		case twice:
			fault(i, "id: %d is the id of [%d]", e.ID, first)
		default:
			ids[e.ID] = i
		}
		if len(faults) > 0 {
			continue
		}
		key, err := newRingKey(e.ID, secret)
		if err != nil {
			fault(i, "key: %w", err)
			continue
		}
		keys = append(keys, key)
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return keys, nil
}

// decodeKey takes both alphabets of base64 (RFC 4648 §4 and §5), padded or
// not. Its errors do not quote the key.
func decodeKey(s string) ([]byte, error) {
	s = strings.TrimRight(strings.NewReplacer("+", "-", "/", "_").Replace(s), "=")
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return nil, errors.New("not base64")
	}
	if len(b) != KeySize {
		return nil, fmt.Errorf("%d bytes, must be %d", len(b), KeySize)
	}
	return b, nil
}
