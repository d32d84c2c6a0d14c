package driver

import (
	"bytes"
	"errors"
	"fmt"
	"os"
)

// maxSecret bounds a secret, in bytes.
const maxSecret = 64 << 10

// Secret says where a secret is: in a file or in an environment variable,
// never in the configuration itself. So there is nothing to hide in it.
type Secret struct {
	File string `mapstructure:"file"`
	Env  string `mapstructure:"env"`
}

// IsZero reports whether no secret is named.
func (s Secret) IsZero() bool { return s == Secret{} }

// Faults says what is wrong with a secret that must be given; key is its path.
// It reads the secret: one that is not there is found when the configuration
// is checked.
func (s Secret) Faults(key string) []error {
	if _, err := s.Read(); err != nil {
		return []error{fmt.Errorf("%s: %w", key, err)}
	}
	return nil
}

// Read returns the secret without blanks and line ends around it. The error
// names the file or the variable, never what is in it.
func (s Secret) Read() ([]byte, error) {
	var b []byte
	switch {
	case s.File != "" && s.Env != "":
		return nil, errors.New("file and env are both given; one is enough")
	case s.File != "":
		var err error
		if b, err = os.ReadFile(s.File); err != nil {
			return nil, err
		}
	case s.Env != "":
		b = []byte(os.Getenv(s.Env))
	default:
		return nil, errors.New("is not given: write {file: PATH} or {env: NAME}")
	}
	b = bytes.TrimSpace(b)
	if len(b) == 0 {
		return nil, fmt.Errorf("%s is empty", s.where())
	}
	if len(b) > maxSecret {
		return nil, fmt.Errorf("%s holds more than %d bytes", s.where(), maxSecret)
	}
	return b, nil
}

func (s Secret) where() string {
	if s.File != "" {
		return "the file " + s.File
	}
	return "the environment variable " + s.Env
}
