// SPDX-License-Identifier: MIT
// Decodes and prefills a trace model (trace_model.py) through a libllama that the caller has, and prints a
// JSON line for each place that the experts may have.
//
//   llama_replay --model FILE.gguf [--trace FILE.npy] [--place resident|cpu|cache|split] [--cache-mib N,…]
//                [--cpu-layers N] [--threads N,…] [--warmup N] [--steps N] [--prefill N] [--load none|mmap]
//
// resident: all experts on the GPU. cpu: all in host memory, no cache. cache: the same, with a cache of each
// size of --cache-mib in turn, the model loaded once. split: the experts of the first --cpu-layers layers in
// host memory. --load none: host copies are page-locked where a GPU is used; mmap leaves them pageable.
// --threads: where the CPU has experts to compute, the quickest of these during warm-up is taken. --trace:
// the experts that the model's routers chose are compared with the trace, in a pass of its own.
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ggml-backend.h"
#include "llama.h"

namespace
{

const char *const experts_of_any_layer = "\\.ffn_(up|down|gate|gate_up)_(ch|)exps";

[[noreturn]] void stop(const std::string &why)
{
	fprintf(stderr, "llama_replay: %s\n", why.c_str());
	exit(1);
}

double now_s()
{
	return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch())
	    .count();
}

struct options {
	std::string model, trace, place = "resident", load = "none";
	std::vector<long> cache_mib = {0}, threads = {8};
	long cpu_layers = 0, warmup = 192, steps = 576, prefill = 0;
};

std::vector<long> numbers(const std::string &name, const std::string &text)
{
	std::vector<long> found;
	const char *at = text.c_str();
	do {
		char *end;
		found.push_back(strtol(at, &end, 10));
		if (end == at || (*end && *end != ',') || found.back() < 0)
			stop(name + ": found '" + text +
			     "', expected whole numbers from 0, separated by commas");
		at = *end ? end + 1 : end;
	} while (*at);
	return found;
}

options parse(int count, char **words)
{
	options o;
	std::map<std::string, std::string *> texts = {
		{"--model", &o.model}, {"--trace", &o.trace}, {"--place", &o.place}, {"--load", &o.load}};
	std::map<std::string, long *> single = {{"--cpu-layers", &o.cpu_layers},
	                                        {"--warmup", &o.warmup},
	                                        {"--steps", &o.steps},
	                                        {"--prefill", &o.prefill}};
	std::map<std::string, std::vector<long> *> lists = {{"--cache-mib", &o.cache_mib},
	                                                    {"--threads", &o.threads}};
	for (int i = 1; i < count; i += 2) {
		std::string name = words[i];
		if (i + 1 == count)
			stop(name + ": found no value, expected one");
		std::string value = words[i + 1];
		if (texts.count(name))
			*texts[name] = value;
		else if (single.count(name))
			*single[name] = numbers(name, value)[0];
		else if (lists.count(name))
			*lists[name] = numbers(name, value);
		else
			stop("unknown option '" + name + "'");
	}
	if (o.model.empty())
		stop("--model: found none, expected a GGUF file");
	if (o.load != "none" && o.load != "mmap")
		stop("--load: found '" + o.load + "', expected none or mmap");
	if (o.steps < 1 && o.prefill < 1)
		stop("--steps and --prefill: found neither, expected at least one of them");
	return o;
}

// Expert ids [token, layer, rank] of a .npy file of version 1, bytes or 16-, 32- or 64-bit integers.
struct trace {
	long tokens = 0, layers = 0, top_k = 0;
	std::vector<int32_t> ids;
	const int32_t *at(long token, long layer) const
	{
		return &ids[(token * layers + layer) * top_k];
	}
};

std::string whole_file(const std::string &path)
{
	FILE *file = fopen(path.c_str(), "rb");
	if (!file)
		stop(path + ": " + strerror(errno));
	std::string content;
	char piece[65536];
	for (size_t got; (got = fread(piece, 1, sizeof piece, file)) > 0;)
		content.append(piece, got);
	fclose(file);
	return content;
}

trace read_trace(const std::string &path)
{
	std::string file = whole_file(path);
	if (file.size() < 10 || file.compare(0, 6, "\x93NUMPY") != 0 || file[6] != 1)
		stop(path + ": found no .npy file of version 1");
	size_t begin = 10 + ((unsigned char)file[8] | (size_t)(unsigned char)file[9] << 8);
	std::string head = file.substr(10, begin - 10);
	size_t type = head.find("'descr': '"), shape = head.find("'shape': (");
	trace t;
	if (type == std::string::npos || shape == std::string::npos ||
	    sscanf(head.c_str() + shape, "'shape': (%ld, %ld, %ld)", &t.tokens, &t.layers, &t.top_k) !=
	        3)
		stop(path + ": found no shape [token, layer, rank]");
	char kind = head[type + 11];
	size_t width = (size_t)(head[type + 12] - '0'), count = (size_t)(t.tokens * t.layers * t.top_k);
	if ((kind != 'u' && kind != 'i') || (width != 1 && width != 2 && width != 4 && width != 8) ||
	    file.size() != begin + count * width)
		stop(path + ": found no integers of 1, 2, 4 or 8 bytes that fill the file");
	for (size_t i = 0; i < count; i++) {
		uint64_t id = 0;
		memcpy(&id, &file[begin + i * width], width);
		t.ids.push_back((int32_t)id);
	}
	return t;
}

// Compares what the routers chose with the trace. The library shows it every `ffn_moe_topk-LAYER`.
struct checker {
	trace want;
	long first = 0, count = 0; // positions of the batch
	long compared = 0, different = 0;

	static bool callback(ggml_tensor *tensor, bool ask, void *self)
	{
		int layer;
		if (sscanf(tensor->name, "ffn_moe_topk-%d", &layer) != 1)
			return false;
		if (!ask)
			((checker *)self)->compare(tensor, layer);
		return true;
	}

	// The last layer has only the rows whose output was asked for: the batch's last.
	void compare(const ggml_tensor *tensor, int layer)
	{
		long rows = tensor->ne[1], top_k = tensor->ne[0], skipped = std::max(0L, count - rows);
		if (layer >= want.layers || top_k != want.top_k)
			stop("--trace: its layers or ranks are not the model's");
		for (long row = 0; row < rows; row++) {
			std::vector<int32_t> chosen(top_k);
			ggml_backend_tensor_get(tensor, chosen.data(), row * tensor->nb[1],
			                        top_k * sizeof(int32_t));
			const int32_t *ids = want.at(first + skipped + row, layer);
			std::vector<int32_t> recorded(ids, ids + top_k);
			std::sort(chosen.begin(), chosen.end());
			std::sort(recorded.begin(), recorded.end());
			compared++;
			different += chosen != recorded;
		}
	}
};

struct model_deleter {
	void operator()(llama_model *m) const
	{
		llama_model_free(m);
	}
};
struct context_deleter {
	void operator()(llama_context *c) const
	{
		llama_free(c);
	}
};
using model_ptr = std::unique_ptr<llama_model, model_deleter>;
using context_ptr = std::unique_ptr<llama_context, context_deleter>;

// The names of the tensors that stay in host memory, as the library wants them: patterns, ended by NULL.
model_ptr load(const options &o)
{
	std::vector<std::string> patterns;
	if (o.place == "cpu" || o.place == "cache")
		patterns.push_back(experts_of_any_layer);
	else if (o.place == "split")
		for (long layer = 0; layer < o.cpu_layers; layer++)
			patterns.push_back("blk\\." + std::to_string(layer) + experts_of_any_layer);
	else if (o.place != "resident")
		stop("--place: found '" + o.place + "', expected resident, cpu, cache or split");
	std::vector<llama_model_tensor_buft_override> overrides;
	for (const std::string &pattern : patterns)
		overrides.push_back({pattern.c_str(), ggml_backend_cpu_buffer_type()});
	overrides.push_back({nullptr, nullptr});
	llama_model_params params = llama_model_default_params();
	params.n_gpu_layers = -1;
	params.load_mode = o.load == "mmap" ? LLAMA_LOAD_MODE_MMAP : LLAMA_LOAD_MODE_NONE;
	if (!patterns.empty())
		params.tensor_buft_overrides = overrides.data();
	model_ptr model(llama_model_load_from_file(o.model.c_str(), params));
	if (!model)
		stop(o.model + ": the library could not load it");
	return model;
}

// One context over the model, and its walk along the trace.
struct walker {
	const options &o;
	long vocabulary;
	llama_token token = 0;
	long off_trace = 0;
	checker *check;
	context_ptr context;

	walker(const options &given, llama_model *model, long cache_mib, checker *watched)
		: o(given), vocabulary(llama_vocab_n_tokens(llama_model_get_vocab(model))), check(watched)
	{
		llama_context_params params = llama_context_default_params();
		long longest = std::max(o.warmup + o.steps, o.prefill);
		params.n_ctx = (uint32_t)longest + 64;
		params.n_batch = params.n_ubatch = (uint32_t)std::max(o.prefill, 32L);
		params.n_threads = params.n_threads_batch = (int32_t)o.threads[0];
		params.moe_cache_size = (size_t)cache_mib << 20;
		params.no_perf = true;
		if (check) {
			params.cb_eval = checker::callback;
			params.cb_eval_user_data = check;
		}
		context.reset(llama_init_from_model(model, params));
		if (!context)
			stop("the library could not open a context with a cache of " +
			     std::to_string(cache_mib) + " MiB");
	}

	void batch(llama_token *tokens, long count)
	{
		if (check) {
			check->first = tokens[0];
			check->count = count;
		}
		if (llama_decode(context.get(), llama_batch_get_one(tokens, (int32_t)count)))
			stop("the library failed to decode");
	}

	// Greedy steps, as an engine makes them: the next token is known when the logits are.
	double decode(long steps)
	{
		double began = now_s();
		for (long i = 0; i < steps; i++) {
			batch(&token, 1);
			const float *logits = llama_get_logits_ith(context.get(), -1);
			long best = std::max_element(logits, logits + vocabulary) - logits;
			off_trace += best != (token + 1) % vocabulary;
			token = (llama_token)best;
		}
		return now_s() - began;
	}

	// Shares the warm-up among the candidates; the quickest stays.
	long warm_up()
	{
		bool computes = o.place == "cpu" || (o.place == "split" && o.cpu_layers > 0);
		long candidates = computes ? (long)o.threads.size() : 1, best = o.threads[0];
		long share = o.warmup / (candidates + 1);
		double least_s = 0;
		decode(o.warmup - candidates * share);
		for (long i = 0; i < candidates && share > 0; i++) {
			llama_set_n_threads(context.get(), (int32_t)o.threads[i], (int32_t)o.threads[i]);
			double took_s = decode(share);
			if (i == 0 || took_s < least_s) {
				least_s = took_s;
				best = o.threads[i];
			}
		}
		llama_set_n_threads(context.get(), (int32_t)best, (int32_t)best);
		return best;
	}

	// Seconds of one prompt from the trace's beginning.
	double prefill()
	{
		std::vector<llama_token> prompt(o.prefill);
		for (long i = 0; i < o.prefill; i++)
			prompt[i] = (llama_token)(i % vocabulary);
		llama_memory_clear(llama_get_memory(context.get()), true);
		double began = now_s();
		batch(prompt.data(), o.prefill);
		llama_synchronize(context.get());
		return now_s() - began;
	}
};

// ", name: value" of a JSON line.
std::string field(const char *name, long value)
{
	return std::string(", \"") + name + "\": " + std::to_string(value);
}

std::string field(const char *name, double value)
{
	return std::string(", \"") + name + "\": " + std::to_string(value);
}

// The library shows a tensor by ending its graph there, which is slow: no clock runs here.
std::string follow(const options &o, llama_model *model, long cache_mib, const trace &want)
{
	checker check{want};
	options few = o;
	few.steps = std::min(64L, check.want.tokens);
	few.prefill = std::min(o.prefill, check.want.tokens);
	walker walk(few, model, cache_mib, &check);
	walk.decode(few.steps);
	if (few.prefill)
		walk.prefill();
	if (!check.compared)
		stop("--trace: the library showed no router's choice");
	return field("rows_compared", check.compared) + field("rows_different", check.different);
}

std::string decoded(const options &o, walker &walk)
{
	long threads = walk.warm_up();
	double took_s = walk.decode(o.steps);
	return field("threads", threads) + field("warmup", o.warmup) + field("steps", o.steps) +
	       field("tokens_per_s", (double)o.steps / took_s) +
	       field("steps_off_trace", walk.off_trace);
}

// The median of three after one that warms up.
std::string prefilled(const options &o, walker &walk)
{
	walk.prefill();
	std::vector<double> took_s = {walk.prefill(), walk.prefill(), walk.prefill()};
	std::sort(took_s.begin(), took_s.end());
	return field("prefill_tokens", o.prefill) +
	       field("prefill_tokens_per_s", (double)o.prefill / took_s[1]);
}

void measure(const options &o, llama_model *model, long cache_mib, const trace &want)
{
	std::string row = "{\"place\": \"" + o.place + "\", \"load\": \"" + o.load + "\"";
	row +=
		field("cpu_layers", o.place == "split" ? o.cpu_layers : 0L) + field("cache_mib", cache_mib);
	{
		walker walk(o, model, cache_mib, nullptr);
		if (o.steps)
			row += decoded(o, walk);
		if (o.prefill)
			row += prefilled(o, walk);
	}
	if (!o.trace.empty())
		row += follow(o, model, cache_mib, want);
	puts((row + "}").c_str());
	fflush(stdout);
}

void quiet(ggml_log_level level, const char *text, void *)
{
	if (level == GGML_LOG_LEVEL_WARN || level == GGML_LOG_LEVEL_ERROR)
		fputs(text, stderr);
}

} // namespace

int main(int count, char **words)
{
	options o = parse(count, words);
	trace want;
	if (!o.trace.empty())
		want = read_trace(o.trace);
	llama_log_set(quiet, nullptr);
	llama_backend_init();
	{
		model_ptr model = load(o);
		for (long cache_mib : o.place == "cache" ? o.cache_mib : std::vector<long>{0})
			measure(o, model.get(), cache_mib, want);
	}
	llama_backend_free();
	return 0;
}
