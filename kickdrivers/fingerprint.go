package kickdrivers

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"reflect"
	"strings"

	"github.com/edition-push/edition/kickdrivers/driver"
)

// fingerprint is equal for configurations that make the same driver. What is
// in the files that a configuration names belongs to it (a driver.Secret, a
// key that ends in _file), so that a secret that was exchanged counts as a
// change.
func fingerprint(config any) string {
	text := fmt.Appendf(nil, "%T:", config)
	sum := sha256.Sum256(appendValue(text, reflect.ValueOf(config), ""))
	return hex.EncodeToString(sum[:])
}

// appendValue writes all that a value holds; key is its key in the
// configuration.
func appendValue(dst []byte, v reflect.Value, key string) []byte {
	if v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		if v.IsNil() {
			return append(dst, "nil;"...)
		}
		v = v.Elem()
	}
	switch {
	case v.Type() == reflect.TypeFor[driver.Secret]():
		s := v.Interface().(driver.Secret)
		b, err := s.Read()
		return fmt.Appendf(dst, "%+v %x %t;", s, sha256.Sum256(b), err == nil)
	case v.Kind() == reflect.Struct:
		for field, value := range v.Fields() {
			if field.IsExported() {
				key, _, _ := strings.Cut(field.Tag.Get("mapstructure"), ",")
				dst = appendValue(fmt.Appendf(dst, "%s:", field.Name), value, key)
			}
		}
		return dst
	case v.Kind() == reflect.Slice || v.Kind() == reflect.Array:
		dst = fmt.Appendf(dst, "%d[", v.Len())
		for i := range v.Len() {
			dst = appendValue(dst, v.Index(i), key)
		}
		return dst
	case v.Kind() == reflect.String && strings.HasSuffix(key, "_file") && v.String() != "":
		b, err := os.ReadFile(v.String())
		return fmt.Appendf(dst, "%q %x %t;", v.String(), sha256.Sum256(b), err == nil)
	}
	return fmt.Appendf(dst, "%#v;", v.Interface()) // maps are written in order
}
