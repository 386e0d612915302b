// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// descriptor is how one part of an OCI image names another.
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// archive is the files of an OCI image layout, by name.
type archive map[string][]byte

// writeImage writes an image of one layer as an OCI archive. It has no times in
// it: the same files give the same bytes.
func writeImage(out, tag, entry string, files []string) error {
	layer, err := writeLayer(files)
	if err != nil {
		return err
	}
	a := archive{"oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`)}
	layerIs, err := a.add("layer.v1.tar", layer)
	if err != nil {
		return err
	}
	run := map[string]any{"Env": []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}}
	if entry != "" {
		run["Entrypoint"] = []string{entry}
	}
	config, err := a.add("config.v1+json", map[string]any{
		"architecture": runtime.GOARCH, "os": "linux", "config": run,
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{layerIs.Digest}},
	})
	if err != nil {
		return err
	}
	manifest, err := a.add("manifest.v1+json", map[string]any{
		"schemaVersion": 2, "mediaType": mediaType("manifest.v1+json"), "config": config, "layers": []descriptor{layerIs},
	})
	if err != nil {
		return err
	}
	manifest.Annotations = map[string]string{"io.containerd.image.name": tag, "org.opencontainers.image.ref.name": tag[strings.LastIndex(tag, ":")+1:]}
	a["index.json"], err = json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": mediaType("index.v1+json"), "manifests": []descriptor{manifest},
	})
	if err != nil {
		return err
	}
	return a.write(out)
}

func mediaType(kind string) string { return "application/vnd.oci.image." + kind }

// add keeps bytes, or any value as JSON, under its digest.
func (a archive) add(kind string, v any) (descriptor, error) {
	b, ok := v.([]byte)
	if !ok {
		var err error
		if b, err = json.Marshal(v); err != nil {
			return descriptor{}, err
		}
	}
	sum := fmt.Sprintf("%x", sha256.Sum256(b))
	a["blobs/sha256/"+sum] = b
	return descriptor{MediaType: mediaType(kind), Digest: "sha256:" + sum, Size: len(b)}, nil
}

func (a archive) write(out string) error {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, name := range slices.Sorted(maps.Keys(a)) {
		if err := writeFile(w, name, 0o644, a[name]); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return os.WriteFile(out, buf.Bytes(), 0o644)
}

// writeLayer is the tar of every DEST=FILE; where FILE is a folder, of all below it.
func writeLayer(files []string) ([]byte, error) {
	var buf bytes.Buffer
	l := layer{w: tar.NewWriter(&buf), made: map[string]bool{".": true, "/": true}}
	if err := l.folder("tmp", 0o1777); err != nil {
		return nil, err
	}
	for _, f := range files {
		dest, src, ok := strings.Cut(f, "=")
		if !ok {
			return nil, fmt.Errorf("%q is not DEST=FILE", f)
		}
		err := filepath.WalkDir(src, func(p string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(src, p)
			if err != nil {
				return err
			}
			return l.add(path.Join(strings.Trim(path.Clean(dest), "/"), filepath.ToSlash(rel)), p, e)
		})
		if err != nil {
			return nil, err
		}
	}
	return buf.Bytes(), l.w.Close()
}

type layer struct {
	w    *tar.Writer
	made map[string]bool
}

func (l layer) add(to, from string, e fs.DirEntry) error {
	info, err := e.Info()
	if err != nil {
		return err
	}
	if e.IsDir() {
		return l.folder(to, 0o755)
	}
	if err := l.folder(path.Dir(to), 0o755); err != nil {
		return err
	}
	if e.Type()&fs.ModeSymlink != 0 {
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		return l.w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: to, Linkname: target, Mode: 0o777})
	}
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return writeFile(l.w, to, int64(info.Mode().Perm()), b)
}

// folder makes a folder and those above it, once.
func (l layer) folder(d string, mode int64) error {
	if l.made[d] {
		return nil
	}
	l.made[d] = true
	if err := l.folder(path.Dir(d), 0o755); err != nil {
		return err
	}
	return l.w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: d + "/", Mode: mode})
}

func writeFile(w *tar.Writer, name string, mode int64, b []byte) error {
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(b))}); err != nil {
		return err
	}
	_, err := w.Write(b)
	return err
}
