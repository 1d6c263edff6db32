# What README and .ci/run call. Slow things (guest kernel, user-space vsock device) are kept in
# ${XDG_CACHE_HOME:-~/.cache}/trimtab, outside the clone.
.PHONY: proto
proto: ## write the generated code of trimtab.v1 anew
	UPDATE_GENERATED=1 cargo test -q -p trimtab-proto --test generated
