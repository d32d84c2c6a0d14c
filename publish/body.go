package publish

import (
	"bytes"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

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
	errNoVersion = fmt.Errorf("%w: the body has no version", edition.ErrMalformed)
	errTwice     = fmt.Errorf("%w: the version is given twice", edition.ErrMalformed)
	errDataTwice = fmt.Errorf("%w: the data are given twice", edition.ErrMalformed)
	errDataSize  = fmt.Errorf("%w: data have at most %d bytes", edition.ErrTooLarge, edition.MaxBody)
	errDataText  = fmt.Errorf("%w: data are not UTF-8", edition.ErrMalformed)
	errField     = fmt.Errorf("%w: the body is not a form", edition.ErrMalformed)
)

// signal is what one PUT says.
type signal struct {
	version edition.Version
	known   bool   // else the server makes the version
	data    []byte // of SimplePush; nil for none
	hasData bool
}

// formOf reads the request's Content-Type: its parameters are ignored, since a
// version is digits in any of the usual charsets.
func formOf(r *http.Request) (form, error) {
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

// parseBody reads a body that is not empty. It says a version, unless the query
// has said it or there are data to make one for.
func (s *signal) parseBody(f form, b []byte) (err error) {
	if f == formURL {
		if err = s.parseForm(b); err == nil && !s.known && !s.hasData {
			err = errNoVersion
		}
		return err
	}
	if s.known {
		return errTwice
	}
	if f == formJSON {
		s.version, err = parseJSON(b)
	} else {
		s.version, err = edition.ParseVersion(b)
	}
	s.known = true
	return err
}

// parseForm reads version=N and data=TEXT of a body or a query. Other fields
// are ignored.
func (s *signal) parseForm(b []byte) (err error) {
	for field := range bytes.SplitSeq(b, []byte{'&'}) {
		name, value, _ := bytes.Cut(field, []byte{'='})
		if name, err = unescape(name); err != nil {
			return err
		}
		switch string(name) {
		case "version":
			if s.known {
				return errTwice
			}
			s.known = true
			if value, err = unescape(value); err == nil {
				s.version, err = edition.ParseVersion(value)
			}
		case "data":
			if s.hasData {
				return errDataTwice
			}
			s.hasData = true
			if value, err = unescape(value); err == nil {
				err = s.take(value)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// take keeps data, which are text: SimplePush puts them into JSON.
func (s *signal) take(data []byte) error {
	switch {
	case len(data) > edition.MaxBody:
		return errDataSize
	case !utf8.Valid(data):
		return errDataText
	case len(data) > 0:
		s.data = append([]byte(nil), data...)
	}
	return nil
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
