package publish

import (
	"bytes"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// form is how a body spells a version.
type form uint8

const (
	formURL form = iota
	formJSON
	formText
)

var (
	errCoding    = fmt.Errorf("%w: a body must not be compressed", edition.ErrMediaType)
	errMedia     = fmt.Errorf("%w: use application/x-www-form-urlencoded, application/json or text/plain", edition.ErrMediaType)
	errQuery     = fmt.Errorf("%w: the version goes into the body, not into the URL", edition.ErrMalformed)
	errNoVersion = fmt.Errorf("%w: the body has no version", edition.ErrMalformed)
	errTwice     = fmt.Errorf("%w: the version is given twice", edition.ErrMalformed)
	errField     = fmt.Errorf("%w: the body is not a form", edition.ErrMalformed)
)

// formOf reads the request's Content-Type: its parameters are ignored, since a
// version is digits in any of the usual charsets. A version in the query, with
// an empty body, would silently become a server-made one: it is refused.
func formOf(r *http.Request) (form, error) {
	if r.URL.RawQuery != "" && r.URL.Query().Has("version") {
		return 0, errQuery
	}
	if c := r.Header["Content-Encoding"]; len(c) > 0 && !strings.EqualFold(c[0], "identity") {
		return 0, errCoding
	}
	values := r.Header["Content-Type"]
	if len(values) == 0 || values[0] == "" {
		return formURL, nil
	}
	if f, ok := forms[values[0]]; ok {
		return f, nil
	}
	media, _, err := mime.ParseMediaType(values[0]) // lower case
	if f, ok := forms[media]; ok && err == nil {
		return f, nil
	}
	return 0, errMedia
}

var forms = map[string]form{
	"application/x-www-form-urlencoded": formURL,
	"application/json":                  formJSON,
	"text/plain":                        formText,
}

// parseBody reads a version from a body that is not empty.
func parseBody(f form, b []byte) (edition.Version, error) {
	switch f {
	case formJSON:
		return parseJSON(b)
	case formText:
		return edition.ParseVersion(b)
	default:
		return parseForm(b)
	}
}

// parseForm reads version=N. Other fields are ignored.
func parseForm(b []byte) (v edition.Version, err error) {
	found := false
	for field := range bytes.SplitSeq(b, []byte{'&'}) {
		name, value, _ := bytes.Cut(field, []byte{'='})
		if name, err = unescape(name); err != nil {
			return 0, err
		}
		if string(name) != "version" {
			continue
		}
		if found {
			return 0, errTwice
		}
		found = true
		if value, err = unescape(value); err != nil {
			return 0, err
		}
		if v, err = edition.ParseVersion(value); err != nil {
			return 0, err
		}
	}
	if !found {
		return 0, errNoVersion
	}
	return v, nil
}

func unescape(b []byte) ([]byte, error) {
	if bytes.IndexByte(b, '%') < 0 && bytes.IndexByte(b, '+') < 0 {
		return b, nil
	}
	s, err := url.QueryUnescape(string(b))
	if err != nil {
		return nil, errField
	}
	return []byte(s), nil
}

// parseJSON reads {"version": N}. Other fields are ignored; names are compared
// exactly.
func parseJSON(b []byte) (v edition.Version, err error) {
	found := false
	err = wire.EachMember(b, func(name string, value []byte) (err error) {
		if name != "version" {
			return nil
		}
		if found {
			return errTwice
		}
		found = true
		v, err = edition.ParseVersion(value)
		return err
	})
	if err != nil {
		return 0, err
	}
	if !found {
		return 0, errNoVersion
	}
	return v, nil
}
