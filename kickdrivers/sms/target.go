package sms

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers/sms/smpp"
)

// target is what a device registers and what is stored.
type target struct {
	MSISDN string `json:"msisdn"` // normalised: + and 7 to 15 digits
}

// Numbers of E.164, section 6, have at most 15 digits. Fewer than 7 are the
// short numbers of services.
const (
	minDigits = 7
	maxDigits = 15
	maxAsked  = 40 // with blanks and the like
)

// parse reads a target and normalises its number. No error carries the number.
func parse(raw json.RawMessage) (target, error) {
	var t target
	if err := json.Unmarshal(raw, &t); err != nil {
		return target{}, fmt.Errorf(`%w: the target is not an object such as {"msisdn":"+34600111222"}`, edition.ErrMalformed)
	}
	number, ok := normalise(t.MSISDN)
	if !ok {
		return target{}, fmt.Errorf("%w: msisdn is not a number of %d to %d digits that begins with + and a country code", edition.ErrMalformed, minDigits, maxDigits)
	}
	return target{number}, nil
}

// normalise takes out what people write between digits.
func normalise(s string) (string, bool) {
	if len(s) > maxAsked {
		return "", false
	}
	s = strings.NewReplacer(" ", "", "-", "", ".", "", "(", "", ")", "").Replace(s)
	digits, found := strings.CutPrefix(s, "+")
	if !found || len(digits) < minDigits || len(digits) > maxDigits || digits[0] == '0' {
		return "", false
	}
	if strings.ContainsFunc(digits, func(r rune) bool { return r < '0' || r > '9' }) {
		return "", false
	}
	return s, true
}

// allow says whether the configuration lets a number be kicked.
func (c Config) allow(number string) error {
	begins := func(prefixes []string) bool {
		for _, p := range prefixes {
			if strings.HasPrefix(number, p) {
				return true
			}
		}
		return false
	}
	switch {
	case !begins(c.Prefixes):
		return fmt.Errorf("%w: the number begins with none of the prefixes that are allowed", edition.ErrForbidden)
	case begins(c.Deny):
		return fmt.Errorf("%w: numbers that begin so are not kicked", edition.ErrForbidden)
	}
	return nil
}

// senderFault says what is wrong with From.
func (c Config) senderFault() error {
	switch kind, _, _ := c.sender(); {
	case !printable(c.From):
		return fmt.Errorf("%q is not printable ASCII", c.From)
	case kind == smpp.TONAlphanumeric && len(c.From) > 11:
		return fmt.Errorf("%q is longer than the 11 characters that a name may have", c.From)
	case len(c.From) > 20:
		return errors.New("is longer than 20 characters")
	}
	return nil
}

// sender tells from its form what From is.
func (c Config) sender() (ton, npi byte, addr string) {
	digits, plus := strings.CutPrefix(c.From, "+")
	numeric := digits != "" && !strings.ContainsFunc(digits, func(r rune) bool { return r < '0' || r > '9' })
	switch {
	case c.From == "":
		return smpp.TONUnknown, smpp.NPIUnknown, ""
	case numeric && plus:
		return smpp.TONInternational, smpp.NPIISDN, digits
	case numeric && len(digits) <= 8:
		return smpp.TONShort, smpp.NPIUnknown, digits
	case numeric:
		return smpp.TONUnknown, smpp.NPIISDN, digits
	}
	return smpp.TONAlphanumeric, smpp.NPIUnknown, c.From
}
