package main

import (
	"slices"
	"strings"
	"testing"
)

// TestVerdict: what streams of events, as go test -json writes them, count as.
func TestVerdict(t *testing.T) {
	const (
		pass  = `{"Action":"pass","Package":"p","Test":"TestA"}`
		ended = `{"Action":"pass","Package":"p"}`
	)
	tests := []struct {
		name            string
		events          []string
		passed          int
		failed, skipped []string
	}{
		{"passes, subtests too", []string{pass, `{"Action":"pass","Package":"p","Test":"TestA/sub"}`, ended}, 2, nil, nil},
		{"skips", []string{pass, `{"Action":"skip","Package":"p","Test":"TestB"}`, ended}, 1, nil, []string{"unit: p.TestB"}},
		{"fails", []string{pass, `{"Action":"fail","Package":"p","Test":"TestB"}`, `{"Action":"fail","Package":"p"}`}, 1, []string{"unit: p.TestB"}, nil},
		{"exits outside a test", []string{pass, `{"Action":"fail","Package":"p"}`}, 1, []string{"unit: p"}, nil},
		{"does not build", []string{
			`{"ImportPath":"p","Action":"build-output","Output":"p.go:1: no\n"}`, `{"ImportPath":"p","Action":"build-fail"}`,
			`{"Action":"fail","Package":"p","FailedBuild":"p"}`,
		}, 0, []string{"unit: p"}, nil},
		{"runs no test", []string{ended}, 0, []string{"unit: p: no test ran"}, nil},
		{"has no test files", []string{`{"Action":"skip","Package":"p"}`}, 0, nil, nil},
		{"is never heard of again", []string{pass}, 0, []string{"unit: p: did not end"}, nil},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			r := reader{stage: &stage{name: "unit"}, packages: map[string]*result{}, output: map[string][]string{}}
			if err := r.read(strings.NewReader(strings.Join(tc.events, "\n"))); err != nil {
				t.Fatal(err)
			}
			got := r.total
			if got.passed != tc.passed || !slices.Equal(got.failedNames, tc.failed) || !slices.Equal(got.skippedNames, tc.skipped) {
				t.Errorf("%+v, want %d passed, %q failed, %q skipped", got, tc.passed, tc.failed, tc.skipped)
			}
		})
	}
}
