package configs

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// check collects the faults of one configuration.
type check struct{ faults []string }

func (c *check) fault(path, format string, args ...any) {
	c.faults = append(c.faults, path+": "+fmt.Sprintf(format, args...))
}

func (c *check) oneOf(path, value string, words ...string) {
	if slices.Contains(words, value) {
		return
	}
	words = slices.DeleteFunc(slices.Clone(words), func(w string) bool { return w == "" })
	c.fault(path, "%q is not one of %s", value, strings.Join(words, ", "))
}

func (c *check) between(path string, d, low, high time.Duration) {
	if d < low || d > high {
		c.fault(path, "%v is not between %v and %v", d, low, high)
	}
}

func (c *check) atLeast(path string, n, low float64) {
	if n < low {
		c.fault(path, "%s is below %s", plain(n), plain(low))
	}
}

func plain(n float64) string { return strconv.FormatFloat(n, 'f', -1, 64) }

func (c *check) address(path, addr string) {
	_, port, err := net.SplitHostPort(addr)
	if n, perr := strconv.Atoi(port); err != nil || perr != nil || n < 0 || n > 65535 {
		c.fault(path, "%q is not host:port, such as 127.0.0.1:8080 or :8080", addr)
	}
}

func (c *check) url(path, text string) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		c.fault(path, "%q is not a URL such as https://push.example.org", text)
	}
}

// words that go into URLs, metrics and file names.
var nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

func (c *check) name(path, name string) {
	if !nameForm.MatchString(name) {
		c.fault(path, "%q is not a name: 1 to 64 letters, digits, dots, dashes or underscores", name)
	}
}

// token reads a *_file key into the secret beside it, and checks that secret.
func (c *check) token(path string, secret *Secret, file string) {
	switch {
	case file == "":
		if fault := secret.tokenFault(); fault != "" {
			c.fault(path+".token", "%s", fault)
		}
	case *secret != "":
		c.fault(path+".token", "given, and token_file as well: leave one away")
	default:
		var err error
		if *secret, err = ReadTokens(file); err != nil {
			c.fault(path+".token_file", "%v", err)
		}
	}
}

// maxTokens bounds the tokens of one party: the new one, the old one, and what
// was forgotten.
const maxTokens = 4

// tokenFault says why a secret does not hold tokens, without quoting it. "" is
// that it does, or is empty.
func (s Secret) tokenFault() string {
	lines := 0
	for line := range strings.Lines(s.Reveal()) {
		switch n := len(strings.Fields(line)); n {
		case 0:
		case 1:
			lines++
		default:
			return "a line with spaces in it is not a token; it holds one token, or one a line"
		}
	}
	if lines > maxTokens {
		return fmt.Sprintf("%d lines are more than %d tokens", lines, maxTokens)
	}
	return ""
}

// ReadTokens reads a file of tokens, one a line. Errors do not quote it.
func ReadTokens(file string) (Secret, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	secret := Secret(strings.TrimSpace(string(text)))
	if secret == "" {
		return "", fmt.Errorf("%s is empty: it should hold the token", file)
	}
	if fault := secret.tokenFault(); fault != "" {
		return "", fmt.Errorf("%s: %s", file, fault)
	}
	return secret, nil
}

func (c *check) keyPair(path, cert, key string) {
	switch {
	case cert == "" && key == "":
	case cert == "":
		c.fault(path+".cert_file", "missing, beside key_file")
	case key == "":
		c.fault(path+".key_file", "missing, beside cert_file")
	default:
		if _, err := tls.LoadX509KeyPair(cert, key); err != nil {
			c.fault(path+".cert_file", "%v", err)
		}
	}
}

func (c *check) certs(path, file string) {
	if file == "" {
		return
	}
	text, err := os.ReadFile(file)
	if err != nil {
		c.fault(path, "%v", err)
	} else if !x509.NewCertPool().AppendCertsFromPEM(text) {
		c.fault(path, "%s holds no PEM certificate", filepath.Base(file))
	}
}
