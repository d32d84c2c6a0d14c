// Package configs holds the configuration of both roles: typed, with
// defaults, read strictly.
//
// It promises that a configuration that loads can be used: keys that do not
// exist, values out of range and files that cannot be read are refused, all
// faults at once, each with its key path and the value seen. Sources override
// each other in this order: defaults, file, EDITION_… environment, flags.
//
// It opens no listener and no data file, and watches nothing: a configuration
// is read once, at the start.
package configs
