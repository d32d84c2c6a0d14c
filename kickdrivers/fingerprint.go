package kickdrivers

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
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
	h := sha256.New()
	fmt.Fprintf(h, "%T", config)
	printValue(h, reflect.ValueOf(config), "")
	return hex.EncodeToString(h.Sum(nil))
}

func printValue(h hash.Hash, v reflect.Value, key string) {
	if v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		if v.IsNil() {
			fmt.Fprint(h, "nil;")
			return
		}
		v = v.Elem()
	}
	switch {
	case v.Type() == reflect.TypeFor[driver.Secret]():
		s := v.Interface().(driver.Secret)
		b, err := s.Read()
		fmt.Fprintf(h, "%+v %x %t;", s, sha256.Sum256(b), err == nil)
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if !f.IsExported() {
				continue
			}
			key, _, _ := strings.Cut(f.Tag.Get("mapstructure"), ",")
			fmt.Fprintf(h, "%s:", f.Name)
			printValue(h, v.Field(i), key)
		}
	case v.Kind() == reflect.Slice || v.Kind() == reflect.Array:
		fmt.Fprintf(h, "%d[", v.Len())
		for i := range v.Len() {
			printValue(h, v.Index(i), key)
		}
	case v.Kind() == reflect.String && strings.HasSuffix(key, "_file") && v.String() != "":
		b, err := os.ReadFile(v.String())
		fmt.Fprintf(h, "%q %x %t;", v.String(), sha256.Sum256(b), err == nil)
	default:
		fmt.Fprintf(h, "%#v;", v.Interface()) // maps are printed in order
	}
}
